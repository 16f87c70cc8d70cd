/**
 * What one run has said, given out in order: events by seq, text by offset, holes by name.
 * No clock and no connection: `watch.js` knows when to ask for what is missing.
 */

import { PROTOCOL_VERSION } from "../protocol.js";
import { EventCursor } from "./cursor.js";
import { sliceOf } from "./codepoints.js";
import { Transcript } from "./transcript.js";

/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("./transcript.js").StreamText} StreamText */
/** @typedef {{nodeId: string, path: string, attempt: number, name: string}} Place */
/** @typedef {{nodeId: string, path: string, name: string, stream: StreamText}} Hole */

/** Those that nothing follows; a run that has failed may have been resumed since. */
const LAST = new Set(["run.completed", "run.cancelled"]);

/** Events that end a run. */
export const FINAL = new Set(["run.completed", "run.failed", "run.cancelled", "run.timed_out"]);

/** Events that tell what a node's text must be. */
const ENDS = new Set(["node.completed", "node.failed"]);

/**
 * Puts the messages of one run in order. Text comes out without holes: each `text.delta`
 * begins where the one before it of the same stream ended, and a text is whole before the
 * end of its node comes out. What cannot be had is told by a `client.gap`, and the text goes
 * on behind it.
 */
export class Feed {
  /**
   * @param {string} runId
   * @param {number} [afterSeq]
   */
  constructor(runId, afterSeq = 0) {
    this.runId = runId;
    this.cursor = new EventCursor(afterSeq);
    this.transcript = new Transcript();
    /** Whether the end of the run came out. */
    this.ended = false;
    /** @type {Map<string, string>} Nodes that have begun and not ended: place to id. */
    this.unfinished = new Map();
    /** @type {Message[]} */
    this._waiting = [];
    /** @type {Map<string, Hole>} */
    this._holes = new Map();
    this._swept = false;
    this._over = false;
    this._givenUp = 0;
    this._timestamp = "1970-01-01T00:00:00.000Z";
  }

  // -- what arrives -------------------------------------------------------------------

  /**
   * Takes an event or a delta.
   *
   * @param {Message} message
   * @returns {Message[]} What comes out, in order.
   */
  take(message) {
    if (this.ended) return [];
    this.cursor.noteHead(message);
    this._timestamp = String(message.timestamp ?? this._timestamp);
    if (message.event === "text.delta") return [...this._text(message), ...this._release()];
    if ("seq" in message) {
      this._waiting.push(...this.cursor.offer(message));
      return this._release();
    }
    return [];
  }

  /**
   * Takes stored text.
   *
   * @param {Record<string, any>[]} rows `{node_id, path, attempt, stream, offset, text}`.
   * @param {boolean} [swept] They are all there is, read after the run had ended.
   * @returns {Message[]}
   */
  takeRows(rows, swept = false) {
    if (this.ended) return [];
    this._swept = this._swept || swept;
    const out = [];
    for (const { node_id, path, attempt, stream, offset, text } of rows) {
      const data = { attempt, stream, offset, text };
      out.push(...this._text(this._made("text.delta", node_id, path, data)));
    }
    return [...out, ...this._release()];
  }

  /**
   * @param {string} event
   * @param {string} nodeId
   * @param {string} path
   * @param {Record<string, any>} data
   * @returns {Message}
   */
  _made(event, nodeId, path, data) {
    return {
      v: PROTOCOL_VERSION,
      event,
      run_id: this.runId,
      head: this.cursor.head,
      timestamp: this._timestamp,
      node_id: nodeId,
      path,
      data,
    };
  }

  // -- text ---------------------------------------------------------------------------

  /**
   * Merges a piece.
   *
   * @param {Message} delta
   * @returns {Message[]} What now follows the text that has come out.
   */
  _text(delta) {
    const { data } = delta;
    const stream = this.transcript.open(delta);
    if (!stream) return [];
    const offset = stream.length;
    const { text } = stream.merge(data.offset, data.text);
    const [nodeId, path] = [delta.node_id ?? "", delta.path ?? ""];
    const key = holeKey(nodeId, path, data.stream);
    if (stream.nextStart === undefined) this._holes.delete(key);
    else this._holes.set(key, { nodeId, path, name: data.stream, stream });
    return text ? [{ ...delta, data: { ...data, offset, text } }] : [];
  }

  /** Whether a stream of an attempt that counts has a hole. */
  hasHoles() {
    for (const [key, { nodeId, path, name, stream }] of this._holes) {
      if (this.transcript.stream(nodeId, path, name) !== stream) this._holes.delete(key);
    }
    return this._holes.size > 0;
  }

  // -- events -------------------------------------------------------------------------

  /** Seq of the event that waits for text; 0 when none does. */
  get blocked() {
    return this._waiting[0]?.seq ?? 0;
  }

  /** Seq of the last event behind that one; 0 when none waits. */
  get lastWaiting() {
    return this._waiting[this._waiting.length - 1]?.seq ?? 0;
  }

  /** Whether it is the end of the run that waits. */
  get ending() {
    return this._waiting.length > 0 && FINAL.has(this._waiting[0].event);
  }

  /**
   * Nodes whose text is missing, not more than two; null when it may be any.
   *
   * @returns {Set<string> | null}
   */
  wanted() {
    const found = new Set(Array.from(this._holes.values(), (hole) => hole.nodeId));
    for (const event of this._waiting) {
      if (FINAL.has(event.event)) return null;
      if (found.size > 1) break;
      if (ENDS.has(event.event) && this._lacks(event)) found.add(event.node_id ?? "");
    }
    return found;
  }

  /** @returns {Message[]} */
  _release() {
    const out = [];
    let done = 0;
    while (done < this._waiting.length && !this._lacks(this._waiting[done])) {
      const event = this._waiting[done];
      done += 1;
      this.transcript.apply(event);
      this._note(event);
      if (event.event !== "void") out.push(event);
      out.push(...this._behindKept(event));
      if (LAST.has(event.event)) {
        this.ended = true;
        done = this._waiting.length;
      } else if (FINAL.has(event.event) || event.event === "run.resumed") {
        this._over = FINAL.has(event.event);
      }
    }
    if (done) this._waiting.splice(0, done);
    if (this._over && this._waiting.length === 0 && !this.cursor.behind) this.ended = true;
    return out;
  }

  /**
   * Text that came before the event which says what it follows.
   *
   * @param {Message} event
   * @returns {Message[]}
   */
  _behindKept(event) {
    const [nodeId, path] = [event.node_id ?? "", event.path ?? ""];
    const out = [];
    for (const [stream, length] of Object.entries(event.data?.kept ?? {})) {
      const held = this.transcript.stream(nodeId, path, stream);
      if (!held || held.length <= length || held.lost) continue;
      const text = sliceOf(held.text(), held.length, length, held.length);
      const data = { attempt: event.data.attempt, stream, offset: length, text };
      out.push(this._made("text.delta", nodeId, path, data));
    }
    return out;
  }

  /** @param {Message} event */
  _note(event) {
    if (event.node_id === undefined) return;
    const place = `${event.node_id}|${event.path}`;
    if (event.event === "node.started") this.unfinished.set(place, event.node_id);
    else if (ENDS.has(event.event)) this.unfinished.delete(place);
  }

  /** @param {Message} event */
  _lacks(event) {
    if (/** @type {number} */ (event.seq) <= this._givenUp) return false;
    if (ENDS.has(event.event)) return this.transcript.lacking(event).length > 0;
    if (!FINAL.has(event.event)) return false;
    // A node that was stopped does not tell how much it had said.
    const stopped = this.unfinished.size > 0 && event.event !== "run.completed";
    return this.hasHoles() || (stopped && !this._swept);
  }

  // -- giving up ----------------------------------------------------------------------

  /**
   * Names what the waiting event lacks, and goes on behind it.
   *
   * @returns {Message[]}
   */
  giveUp() {
    const event = this._waiting[0];
    this._givenUp = event.seq ?? 0;
    const out = FINAL.has(event.event)
      ? Array.from(this._holes.keys()).flatMap((key) => this._close(key))
      : this.transcript.lacking(event).flatMap((name) => this._end(event, name));
    return [...out, ...this._release()];
  }

  /**
   * The gaps of a stream, each with the text behind it.
   *
   * @param {string} key
   */
  _close(key) {
    const { nodeId, path, name, stream } = /** @type {Hole} */ (this._holes.get(key));
    this._holes.delete(key);
    const place = { nodeId, path, attempt: this.transcript.attempt(nodeId, path), name };
    const out = [];
    while (stream.nextStart !== undefined) out.push(...this._gap(stream, place, stream.nextStart));
    return out;
  }

  /**
   * The gaps of a stream whose length is known.
   *
   * @param {Message} event
   * @param {string} name
   */
  _end(event, name) {
    const stream = this.transcript.open(event, name);
    if (!stream) return [];
    const [nodeId, path] = [event.node_id ?? "", event.path ?? ""];
    const place = { nodeId, path, attempt: event.data.attempt ?? 1, name };
    const summary = event.data.streams[name];
    const out = [];
    while (stream.length < summary.length) {
      const to = Math.min(stream.nextStart ?? summary.length, summary.length);
      out.push(...this._gap(stream, place, to));
    }
    this._holes.delete(holeKey(nodeId, path, name));
    if (stream.differs(summary)) out.push(this._gapMessage(place, 0, stream.length, "differs"));
    return out;
  }

  /**
   * @param {StreamText} stream
   * @param {Place} place
   * @param {number} to
   */
  _gap(stream, place, to) {
    const offset = stream.length;
    const text = stream.skip(to);
    const out = [this._gapMessage(place, offset, to - offset, "not_stored")];
    if (text) {
      const data = { attempt: place.attempt, stream: place.name, offset: to, text };
      out.push(this._made("text.delta", place.nodeId, place.path, data));
    }
    return out;
  }

  /**
   * @param {Place} place
   * @param {number} offset
   * @param {number} length
   * @param {string} reason
   */
  _gapMessage({ nodeId, path, attempt, name }, offset, length, reason) {
    const data = { attempt, stream: name, offset, length, reason };
    return this._made("client.gap", nodeId, path, data);
  }
}

/**
 * @param {string} nodeId
 * @param {string} path
 * @param {string} name
 */
function holeKey(nodeId, path, name) {
  return `${nodeId}|${path}|${name}`;
}
