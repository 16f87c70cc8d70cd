/** Text in code points: right, and not slow. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { countOf, isWellFormed, sliceOf } from "../../console/client/codepoints.js";
import { sha256 } from "../../console/client/sha256.js";
import { Transcript, merged } from "../../console/joinery-client.js";

const SAMPLES = [
  "", "plain", "é e\u0301", "👩‍👩‍👧‍👦🇺🇦👍🏽", "שלום مرحبا", "\ud83d", "\ude00", "\ude00\ud83d", "a\ud83d\ud83d\ude00",
  "\u0000\r\n\ufeff\uffff\u{10000}\u{10ffff}", "🦊".repeat(100),
];

function delta(offset, text, more = {}) {
  const data = { attempt: 1, stream: "text", offset, text };
  return { event: "text.delta", run_id: "r", node_id: "a", path: "", data, ...more };
}

test("code points are those of the language's own iterator", () => {
  for (const text of SAMPLES) {
    const points = Array.from(text);
    assert.equal(countOf(text), points.length);
    for (let from = 0; from <= points.length; from += 7) {
      for (let to = from; to <= points.length; to += 3) {
        assert.equal(sliceOf(text, points.length, from, to), points.slice(from, to).join(""));
      }
    }
    assert.equal(isWellFormed(text), text === Buffer.from(text).toString());
  }
});

test("the hash is that of the platform", () => {
  for (let length = 0; length < 200; length += 1) {
    const text = "é🦊x".repeat(length).slice(0, length * 2).replace(/\ud83e$/, "");
    assert.equal(sha256(text), createHash("sha256").update(text).digest("hex"));
  }
});

function took(work) {
  const begin = performance.now();
  work();
  return performance.now() - begin;
}

/** Merges a stream of emoji in small pieces, each of them twice, and returns its text. */
function streamed(points, order) {
  const transcript = new Transcript();
  const pieces = [];
  for (let at = 0; at < points; at += 4) pieces.push(delta(at, "🦊".repeat(Math.min(4, points - at))));
  if (order === "backwards") pieces.reverse();
  for (const piece of pieces) {
    transcript.apply(piece);
    transcript.apply(piece);
  }
  return transcript.text("a");
}

test("a stream of 1 MB of emoji takes a time that grows with its length", () => {
  streamed(10_000, "forwards"); // warm
  const small = took(() => streamed(65_536, "forwards"));
  const large = took(() => assert.equal(streamed(262_144, "forwards").length, 524_288));
  // Four times as long takes four times as long; sixteen would be quadratic.
  assert.ok(large < small * 10 + 200, `${small} ms, then ${large} ms`);
});

test("a stream that comes backwards is no disaster", () => {
  const time = took(() => assert.equal(streamed(262_144, "backwards").length, 524_288));
  assert.ok(time < 10_000, `${time} ms`);
});

test("a repeat of a long text over and over is linear in what is sent", () => {
  const transcript = new Transcript();
  const text = "🦊".repeat(50_000);
  transcript.apply(delta(0, text));
  const time = took(() => {
    for (let i = 0; i < 100; i += 1) assert.equal(transcript.apply(delta(0, text)), false);
  });
  assert.ok(time < 5_000, `${time} ms`);
});

test("a batch has one piece of each stream between two of its gaps", () => {
  const gap = { ...delta(0, ""), event: "client.gap" };
  gap.data = { attempt: 1, stream: "text", offset: 2, length: 2, reason: "not_stored" };
  const started = { event: "node.started", run_id: "r", node_id: "b", path: "", seq: 2, data: {} };
  const other = { node_id: "b" };
  const batch = merged([
    delta(0, "a"), started, delta(0, "x", other), delta(1, "b"), gap, delta(4, "e"), delta(5, "f"),
    delta(1, "y", other),
  ]);
  assert.deepEqual(batch, [
    delta(0, "ab"), started, delta(0, "xy", other), gap, delta(4, "ef"),
  ]);
  assert.deepEqual(merged([]), []);
});
