/** In a browser, from another origin: starts a run with the client, follows it, steers another. */

import { JoineryClient } from "/console/joinery-client.js";

const ENDINGS = ["run.completed", "run.failed", "run.cancelled"];

export default async function main({ baseUrl, wsUrl, token, workflowId, cassette, timing }) {
  const client = new JoineryClient({ baseUrl, wsUrl, token, timing });
  const { run_id: first } = await client.start(workflowId, {}, { cassette });
  const messages = [];
  for await (const message of client.follow(first)) messages.push(message);

  // The same again, in batches that wait for the browser to draw.
  const batches = [];
  for await (const batch of client.batches(first)) batches.push(batch);

  // Commands over the socket, and a start whose answer is the same when it is asked for again.
  const live = client.live();
  const { run_id: second } = await client.start(workflowId, {}, { cassette });
  live.watch(second);
  const steered = [];
  let asked = false;
  for await (const message of live.messages()) {
    steered.push(message.event);
    if (!asked && message.event === "node.started") {
      asked = true;
      await live.command("cancel", { run_id: second });
    }
    if (ENDINGS.includes(message.event)) break;
  }
  live.close();

  let refused = "";
  await client.get("run_01aaaaaaaaaaaaaaaaaaaaaaaa").catch((error) => (refused = error.code));
  return { first, messages, batches, steered, refused, sockets: typeof WebSocket };
}
