/** Follows the runs of a list, many at a time, and prints what came of each. */

import { readFileSync } from "node:fs";
import { JoineryClient } from "../../console/joinery-client.js";

const AT_ONCE = 40;
const { scenes, timing } = JSON.parse(readFileSync(process.argv[2], "utf-8"));

async function follow({ http, ws, run_id, token }) {
  const client = new JoineryClient({ baseUrl: http, wsUrl: ws, token, timing });
  const messages = [];
  for await (const message of client.follow(run_id)) messages.push(message);
  return { messages };
}

const waiting = [...scenes];
async function work() {
  for (let scene = waiting.shift(); scene; scene = waiting.shift()) {
    const result = await follow(scene).catch((error) => ({ error: String(error) }));
    process.stdout.write(`${JSON.stringify({ name: scene.name, ...result })}\n`);
  }
}
await Promise.all(Array.from({ length: AT_ONCE }, work));
