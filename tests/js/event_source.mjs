/**
 * Reads a run's events with an EventSource, through a proxy that cuts its connections.
 *
 * Prints what came: the messages in order, and of each connection what it asked for and
 * whether it was cut. The EventSource is left to itself; only cookies, which Node.js does not
 * keep, are kept for it as a browser keeps them.
 */

import http from "node:http";
import { EventSource } from "../../.tools/node/node_modules/eventsource/dist/index.js";

const { url, cuts } = JSON.parse(process.argv[2]);
const address = new URL(url);
const connections = [];

const proxy = http.createServer((asked, answer) => {
  const cut = cuts[connections.length] ?? null;
  const connection = { last: asked.headers["last-event-id"] ?? "", cut, status: 0 };
  connections.push(connection);
  const headers = { ...asked.headers, host: address.host, connection: "close" };
  const forward = { host: address.hostname, port: address.port, path: asked.url, headers };
  http.get(forward, (given) => {
    connection.status = given.statusCode;
    const parts = [];
    given.on("data", (part) => parts.push(part));
    given.on("end", () => {
      const body = Buffer.concat(parts);
      const { "content-length": _, ...kept } = given.headers;
      answer.writeHead(given.statusCode, kept);
      if (cut === null || given.statusCode !== 200) return answer.end(body);
      // What is sent ends anywhere: within a line, within a character.
      return answer.write(body.subarray(0, Math.floor(body.length * cut)), () =>
        setTimeout(() => answer.socket?.resetAndDestroy(), 50),
      );
    });
  });
});
await new Promise((done) => proxy.listen(0, "127.0.0.1", done));

const cookies = new Map();
async function browse(input, init) {
  const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  const headers = cookie ? { ...init.headers, cookie } : init.headers;
  const answer = await fetch(input, { ...init, headers });
  for (const line of answer.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    cookies.set(name, value);
  }
  return answer;
}

const here = `http://127.0.0.1:${proxy.address().port}${address.pathname}${address.search}`;
const source = new EventSource(here, { fetch: browse });
const messages = [];
source.onmessage = ({ data }) => messages.push(JSON.parse(data));
await new Promise((done) => {
  source.onerror = () => source.readyState === EventSource.CLOSED && done();
});
proxy.close();
process.stdout.write(JSON.stringify({ messages, connections }));
