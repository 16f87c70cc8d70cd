/** The client's own input and output, against a server in this process and fake sockets. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { nextScreen } from "../../console/client/batches.js";
import { JoineryClient, JoineryError } from "../../console/joinery-client.js";
import { ACTIONS, DELTA_NAMES, EVENT_NAMES, FRAME_NAMES, REQUIRED } from "../../console/protocol.js";

const RUN = "run_01jd0000000000000000000000";
const requests = [];
let answers = {};
let server;
let baseUrl;

before(async () => {
  server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const [path, query = ""] = request.url.split("?");
    requests.push({ method: request.method, path, query, body, headers: request.headers });
    const queue = answers[`${request.method} ${path}`] ?? [[404, { error: { code: "not_found", message: "no" } }]];
    const [status, answer] = queue.length > 1 ? queue.shift() : queue[0];
    response.writeHead(status).end(typeof answer === "string" ? answer : JSON.stringify(answer));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  baseUrl = `http://127.0.0.1:${server.address().port}`;
});

after(() => server.close());

function given(more) {
  answers = more;
  requests.length = 0;
}

/** A socket that a test holds the other end of. */
class FakeSocket {
  static opened = [];
  sent = [];
  constructor(url, options) {
    Object.assign(this, { url, options });
    FakeSocket.opened.push(this);
    setTimeout(() => this.onopen?.());
  }
  send(text) {
    const command = JSON.parse(text);
    this.sent.push(command);
    FakeSocket.onCommand?.(this, command);
  }
  say(message) {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }
  close() {
    setTimeout(() => this.onclose?.());
  }
}

function client(more = {}) {
  FakeSocket.opened = [];
  FakeSocket.onCommand = undefined;
  const wsUrl = "ws://sockets.test/dev";
  return new JoineryClient({ baseUrl, wsUrl, token: "t", WebSocket: FakeSocket, ...more });
}

const event = (seq, name, run = RUN) => ({ event: name, run_id: run, seq, head: seq, data: {} });

test("a ticket opens the socket, and stands in its address alone", async () => {
  given({ "POST /tickets": [[201, { ticket: "a b", expires_at: "2026" }]] });
  const live = client().live();
  live.watch(RUN);
  await new Promise((resolve) => (FakeSocket.onCommand = resolve));
  const [socket] = FakeSocket.opened;
  assert.equal(socket.url, "ws://sockets.test/dev?ticket=a%20b");
  assert.equal(socket.options, undefined);
  assert.equal(requests[0].headers.authorization, "Bearer t");
  live.close();
});

test("without tickets the header is sent where that can be", async () => {
  given({});
  const live = client().live();
  live.watch(RUN);
  await new Promise((resolve) => (FakeSocket.onCommand = resolve));
  const [socket] = FakeSocket.opened;
  assert.equal(socket.url, "ws://sockets.test/dev");
  assert.deepEqual(socket.options, { headers: { Authorization: "Bearer t" } });
  live.close();
});

test("a token may be a function, asked each time", async () => {
  given({ "GET /health": [[200, { status: "ok" }]] });
  let asked = 0;
  const made = client({ token: async () => `t${(asked += 1)}` });
  await made.health();
  await made.health();
  assert.deepEqual(requests.map((r) => r.headers.authorization), ["Bearer t1", "Bearer t2"]);
});

test("two runs on one socket, commands between them, and one that fails", async () => {
  given({});
  const live = client().live();
  FakeSocket.onCommand = (socket, { action, request_id, run_id }) => {
    const data = { request_id, action, status: "running" };
    if (run_id === "run_c") {
      const error = { request_id, code: "not_found", message: "no run", retryable: false };
      socket.say({ event: "error", data: error });
      return;
    }
    if (action === "jump") {
      socket.say({ event: "error", data: { request_id, code: "unknown_action", message: "no", retryable: false } });
      return;
    }
    socket.say({ event: "ack", run_id, head: 0, data });
    if (action === "subscribe") socket.say(event(1, "run.started", run_id));
    if (action === "cancel") socket.say(event(2, "run.cancelled", run_id));
  };
  for (const run of ["run_a", "run_b", "run_c"]) live.watch(run);
  const seen = [];
  for await (const message of live.messages()) {
    seen.push(`${message.run_id} ${message.event}`);
    if (message.event !== "run.started") continue;
    const ack = await live.command("cancel", { run_id: message.run_id });
    assert.equal(ack.data.action, "cancel");
    await assert.rejects(live.command("jump"), { code: "unknown_action" });
  }
  live.close();
  assert.equal(FakeSocket.opened.length, 1);
  const expected = ["run_a run.started", "run_a run.cancelled", "run_b run.started"];
  assert.deepEqual(seen.sort(), [...expected, "run_b run.cancelled", "run_c client.error"].sort());
});

test("follow throws what ends the watching, and closes its socket", async () => {
  given({});
  const made = client();
  let closed = false;
  FakeSocket.onCommand = (socket, { request_id }) => {
    socket.onclose = () => (closed = true);
    socket.say({ event: "error", data: { request_id, code: "not_found", message: "no run", retryable: false } });
  };
  await assert.rejects(async () => {
    for await (const _ of made.follow(RUN)) assert.fail();
  }, { name: "JoineryError", code: "not_found", message: "no run" });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(closed);
});

test("a signal ends a following that waits", async () => {
  given({});
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 50);
  for await (const _ of client().follow(RUN, { signal: stop.signal })) assert.fail();
});

test("batches come no faster than asked for, each stream in one piece", async () => {
  given({});
  const made = client();
  const text = (offset, piece) => ({
    event: "text.delta", run_id: RUN, head: 1, node_id: "a", path: "",
    data: { attempt: 1, stream: "text", offset, text: piece },
  });
  FakeSocket.onCommand = (socket) => {
    socket.say(event(1, "run.started"));
    const words = Array.from({ length: 40 }, (_, i) => text(i * 2, "🦊 ".slice(0, 3)));
    words.forEach((word, i) => setTimeout(() => socket.say(word), i * 3));
    setTimeout(() => socket.say(event(2, "run.completed")), 140);
  };
  const times = [];
  let all = "";
  for await (const batch of made.batches(RUN, { everyMs: 50 })) {
    times.push(performance.now());
    const pieces = batch.filter((m) => m.event === "text.delta");
    assert.ok(pieces.length <= 1);
    all += pieces.map((m) => m.data.text).join("");
  }
  assert.equal(all, "🦊 ".repeat(40));
  assert.ok(times.length <= 5, `${times.length} batches`);
});

test("the next screen is a frame of the browser where there is one", async () => {
  const frames = [];
  globalThis.requestAnimationFrame = (draw) => frames.push(draw);
  globalThis.cancelAnimationFrame = () => undefined;
  try {
    const drawn = nextScreen();
    assert.equal(frames.length, 1);
    frames[0]();
    await drawn;
    const begin = performance.now();
    await nextScreen(); // a tab that nobody sees draws none
    assert.ok(performance.now() - begin > 400);
  } finally {
    delete globalThis.requestAnimationFrame;
    delete globalThis.cancelAnimationFrame;
  }
});

test("a start carries a key and repeats it when the API is busy", async () => {
  given({ "POST /runs": [[503, { error: { code: "unavailable", message: "busy", retryable: true } }], [429, { message: "Too Many" }], [202, { run_id: RUN }]] });
  assert.deepEqual(await client().start("wf_1", { topic: "x" }, { sessionId: "s" }), { run_id: RUN });
  assert.equal(new Set(requests.map((r) => r.headers["idempotency-key"])).size, 1);
  assert.deepEqual(JSON.parse(requests[2].body), { workflow_id: "wf_1", session_id: "s", inputs: { topic: "x" } });
});

test("answers become errors with a code", async () => {
  const cases = [
    [404, { error: { code: "not_found", message: "no run x" } }, "not_found"],
    [403, { message: "Forbidden" }, "unauthorized"],
    [500, { message: "Internal Server Error" }, "internal"],
    [502, "<html>bad gateway</html>", "unavailable"],
    [200, "not json", "internal"],
  ];
  for (const [status, body, code] of cases) {
    given({ [`GET /runs/${RUN}`]: [[status, body]] });
    const asked = client().request("GET", `/runs/${RUN}`, { tries: 1 });
    await assert.rejects(asked, (error) => error instanceof JoineryError && error.code === code);
  }
  const nobody = new JoineryClient({ baseUrl: "http://127.0.0.1:9" });
  await assert.rejects(nobody.request("GET", "/health", { tries: 1 }), { code: "unavailable", retryable: true });
});

test("every route is asked as the API has it", async () => {
  const routes = {
    "GET /workflows": [[200, { workflows: [1] }]],
    "GET /workflows/wf_1": [[200, { source: "" }]],
    "POST /workflows": [[201, { workflow_id: "wf_1" }]],
    "GET /runs": [[200, { runs: [], next_cursor: null }]],
    [`GET /runs/${RUN}/cost`]: [[200, {}]],
    [`POST /runs/${RUN}/cancel`]: [[200, {}]],
    [`POST /runs/${RUN}/pause`]: [[200, {}]],
    [`POST /runs/${RUN}/resume`]: [[200, {}]],
    [`DELETE /runs/${RUN}`]: [[204, ""]],
    [`GET /runs/${RUN}/texts`]: [[200, { texts: [1], next_cursor: "2" }], [200, { texts: [2], next_cursor: null }]],
    [`GET /runs/${RUN}/events`]: [[200, { events: [1], head: 2, next_after_seq: 1 }], [200, { events: [2], head: 2, next_after_seq: 2 }]],
  };
  given(routes);
  const made = client();
  assert.deepEqual(await made.workflows(), [1]);
  await made.workflow("wf_1", 3);
  await made.publish({ version: 1 }, { opt: 1 });
  await made.runs({ cursor: "c" });
  await made.cost(RUN);
  await made.cancel(RUN);
  await made.pause(RUN);
  await made.resume(RUN);
  assert.deepEqual(await made.delete(RUN), {});
  assert.deepEqual(await made.texts(RUN, "a"), [1, 2]);
  assert.deepEqual(await made.events(RUN), [1, 2]);
  await assert.rejects(made.get("../workflows?x=1"), { code: "not_found" });
  const asked = requests.map(({ method, path, query }) => `${method} ${path}?${query}`);
  assert.ok(asked.includes("GET /workflows/wf_1?version=3"));
  assert.ok(asked.includes(`GET /runs/${RUN}/texts?node_id=a&cursor=2`));
  assert.ok(asked.includes(`GET /runs/${RUN}/events?after_seq=1&limit=500`));
  assert.ok(asked.includes("GET /runs/..%2Fworkflows%3Fx%3D1?"));
});

test("the protocol names what the client reads", () => {
  for (const name of ["run.started", "node.started", "node.completed", "node.failed", "void", "run.timed_out"]) {
    assert.ok(EVENT_NAMES.includes(name), name);
    for (const field of ["event", "run_id", "seq", "head", "timestamp", "data"]) {
      assert.ok(REQUIRED[name].includes(field), `${name} ${field}`);
    }
  }
  for (const field of ["node_id", "path", "data.attempt", "data.stream", "data.offset", "data.text"]) {
    assert.ok(REQUIRED["text.delta"].includes(field), field);
  }
  assert.ok(REQUIRED["node.completed"].includes("data.streams"));
  assert.deepEqual(DELTA_NAMES, ["text.delta"]);
  for (const name of ["ack", "error", "pong", "resync"]) assert.ok(FRAME_NAMES.includes(name));
  for (const name of ["subscribe", "unsubscribe", "ping", "cancel"]) assert.ok(ACTIONS.includes(name));
});
