/** The same examples as tests/unit/client/test_vectors.py. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Core, Transcript } from "../../console/joinery-client.js";

const read = (name) => JSON.parse(readFileSync(new URL(`../vectors/${name}`, import.meta.url)));
const text = read("text.json");
const core = read("core.json");

/** @param {Record<string, number>} timing Names as in Python. */
function camelCased(timing) {
  const named = ([name, value]) => [name.replace(/_([a-z])/g, (_, c) => c.toUpperCase()), value];
  return Object.fromEntries(Object.entries(timing).map(named));
}

function delta({ offset, text, attempt = 1, path = "", stream = "text" }) {
  const data = { attempt, stream, offset, text };
  return { event: "text.delta", node_id: "a", path, data };
}

for (const { name, steps } of text.texts) {
  test(`text: ${name}`, () => {
    const transcript = new Transcript();
    for (const step of steps) {
      const { path = "", stream = "text", news, shown } = step;
      const message = step.started
        ? {
            event: "node.started",
            node_id: "a",
            path,
            data: { attempt: step.started, kept: step.kept ?? {} },
          }
        : delta(step);
      assert.equal(transcript.apply(message), news);
      assert.equal(transcript.text("a", path, stream), shown);
    }
  });
}

for (const { name, heard, heard_attempt, attempt, summary, lacking } of text.ends) {
  test(`end: ${name}`, () => {
    const transcript = new Transcript();
    for (const [offset, piece] of heard) {
      transcript.apply(delta({ offset, text: piece, attempt: heard_attempt }));
    }
    const data = { attempt, streams: { text: summary } };
    const end = { event: "node.completed", node_id: "a", path: "", data };
    assert.deepEqual(transcript.lacking(end), lacking ? ["text"] : []);
  });
}

for (const { name, steps, socket = true, timing = {}, random = 0.5 } of core.cases) {
  test(`core: ${name}`, () => {
    const made = new Core({ socket, timing: camelCased(timing), rand: () => random });
    for (const step of steps) {
      play(made, step);
      const next = made.next === null ? null : Math.round(made.next * 1e6) / 1e6;
      assert.deepEqual({ want: made.taken(), next }, { want: step.want, next: step.next }, at(step));
    }
  });
}

const at = ({ want: _want, next: _next, ...step }) => `after ${JSON.stringify(step)}`;

function play(made, step) {
  const now = step.at;
  if ("watch" in step) made.watch(step.watch, now, step.after_seq ?? 0);
  else if ("unwatch" in step) made.unwatch(step.unwatch, now);
  else if ("command" in step) made.command(step.command, step.fields ?? {}, now);
  else if ("opened" in step) made.opened(step.opened, now);
  else if ("open_failed" in step) made.openFailed(step.open_failed, now);
  else if ("closed" in step) made.closed(step.closed, now);
  else if ("frame" in step) made.frame(step.connection ?? 1, step.frame, now);
  else if ("fetched" in step) made.fetched(step.fetched, step.answer, now);
  else if ("fetch_failed" in step) made.fetchFailed(step.fetch_failed, step.error, now);
  else made.tick(now);
}
