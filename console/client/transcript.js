/** Text that streams out of nodes, put together from deltas in whatever order they come. */

import { countOf, isWellFormed, sliceOf } from "./codepoints.js";
import { sha256 } from "./sha256.js";

/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {{text: string, count: number}} Piece */

/** Stands for text that has not arrived. */
export const HOLE = "[…]";

/** One stream of one attempt. Offsets count Unicode code points. */
export class StreamText {
  constructor() {
    /** How far the text is known, or known to be lost, from the beginning. */
    this.length = 0;
    /** How many code points of that are lost. */
    this.lost = 0;
    /** @type {string[]} */
    this._parts = [];
    /** @type {Map<number, Piece>} Pieces beyond the first hole, not overlapping. */
    this._later = new Map();
    /** @type {number[]} Their offsets in order. */
    this._starts = [];
    this._wellFormed = true;
  }

  /** Whether there is no hole in what has arrived. */
  get complete() {
    return this._starts.length === 0 && this.lost === 0;
  }

  /** Where the text goes on behind the first hole; undefined when there is no hole. */
  get nextStart() {
    return this._starts.length ? this._starts[0] : undefined;
  }

  /**
   * Merges a piece.
   *
   * @param {number} offset
   * @param {string} text
   * @returns {{news: boolean, text: string}} Whether it brought anything new, and the text
   *   that now follows what was known from the beginning.
   */
  merge(offset, text) {
    const fresh = this._trim(offset, text);
    const at = this._parts.length;
    for (const [start, piece] of fresh) {
      if (start === this.length) this._append(piece);
      else {
        this._later.set(start, piece);
        this._starts.splice(after(this._starts, start), 0, start);
      }
    }
    this._closeUp();
    return { news: fresh.length > 0, text: this._parts.slice(at).join("") };
  }

  /**
   * Gives up what is missing up to an offset.
   *
   * @param {number} to
   * @returns {string} The text that follows it.
   */
  skip(to) {
    const missing = to - this.length;
    if (missing <= 0) return "";
    this._parts.push(HOLE);
    const at = this._parts.length;
    this.lost += missing;
    this.length = to;
    this._closeUp();
    return this._parts.slice(at).join("");
  }

  /** @param {Piece} piece */
  _append(piece) {
    this._parts.push(piece.text);
    this.length += piece.count;
    // Two halves that meet look like a pair, so each piece is judged by itself.
    this._wellFormed = this._wellFormed && isWellFormed(piece.text);
  }

  _closeUp() {
    let done = 0;
    while (done < this._starts.length && this._starts[done] === this.length) {
      const piece = /** @type {Piece} */ (this._later.get(this.length));
      this._later.delete(this.length);
      this._append(piece);
      done += 1;
    }
    if (done) this._starts.splice(0, done);
  }

  /**
   * Returns the parts of a piece that are not known yet.
   *
   * @param {number} offset
   * @param {string} text
   * @returns {[number, Piece][]}
   */
  _trim(offset, text) {
    const whole = countOf(text);
    const end = offset + whole;
    /** @type {(from: number, to: number) => [number, Piece]} */
    const part = (from, to) => [
      from,
      { text: sliceOf(text, whole, from - offset, to - offset), count: to - from },
    ];
    let at = Math.max(offset, this.length);
    /** @type {[number, Piece][]} */
    const fresh = [];
    const first = Math.max(0, after(this._starts, at) - 1);
    for (let i = first; i < this._starts.length && this._starts[i] < end; i += 1) {
      const start = this._starts[i];
      const held = /** @type {Piece} */ (this._later.get(start));
      if (at < start) fresh.push(part(at, start));
      at = Math.max(at, start + held.count);
    }
    if (at < end) fresh.push(part(at, end));
    return fresh;
  }

  /** The text up to the first hole; what was given up is a `HOLE` in it. */
  text() {
    if (this._parts.length > 1) this._parts = [this._parts.join("")];
    return this._parts.length ? this._parts[0] : "";
  }

  /**
   * One piece up to the first hole, then those beyond it.
   *
   * @returns {[number, Piece][]} Each with its offset.
   */
  pieces() {
    /** @type {[number, Piece][]} */
    const found = this.length ? [[0, { text: this.text(), count: this.length }]] : [];
    for (const start of this._starts) {
      found.push([start, /** @type {Piece} */ (this._later.get(start))]);
    }
    return found;
  }

  /** All that has arrived, with `HOLE` wherever something is missing. */
  shown() {
    const out = [this.text()];
    let at = this.length;
    for (const start of this._starts) {
      const piece = /** @type {Piece} */ (this._later.get(start));
      if (start > at) out.push(HOLE);
      out.push(piece.text);
      at = start + piece.count;
    }
    return out.join("");
  }

  /**
   * Whether the text from the beginning is not the one that a summary tells of.
   *
   * @param {{length: number, sha256?: string}} summary
   */
  differs(summary) {
    if (this.length !== summary.length) return true;
    if (summary.sha256 === undefined || this.lost || !this._wellFormed) return false;
    return sha256(this.text()) !== summary.sha256;
  }
}

/**
 * @param {number[]} sorted
 * @param {number} value
 * @returns {number} Where a value goes, behind those that equal it.
 */
function after(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @typedef {{number: number, nodeId: string, path: string, streams: Map<string, StreamText>, before: Map<string, StreamText>}} Attempt */

/** The streamed text of a run, by node, path and stream; the newest attempt counts. */
export class Transcript {
  constructor() {
    /** @type {Map<string, Attempt>} */
    this._places = new Map();
  }

  /**
   * Takes any message of a run. `text.delta` is merged by its offset; `client.gap` gives up
   * what is missing; `node.started` of a new attempt clears what the one before had said,
   * but for what it says is kept.
   *
   * @param {Message} message
   * @returns {boolean} Whether it changed the text.
   */
  apply(message) {
    const data = message.data ?? {};
    if (message.event === "text.delta") {
      return this.open(message)?.merge(data.offset, data.text).news ?? false;
    }
    if (message.event === "client.gap") {
      const stream = this.open(message);
      const before = stream?.length;
      if (data.reason !== "differs") stream?.skip(data.offset + data.length);
      return stream?.length !== before;
    }
    if (message.event === "node.started") {
      const before = this._places.get(placeOf(message.node_id, message.path));
      const now = this._attempt(message);
      if (now === undefined) return false;
      const kept = keep(now, data.kept ?? {});
      return kept || (before !== undefined && now !== before);
    }
    return false;
  }

  /**
   * Returns the stream that a message belongs to, undefined when its attempt is past.
   *
   * @param {Message} message
   * @param {string} [name]
   * @returns {StreamText | undefined}
   */
  open(message, name = message.data.stream) {
    const held = this._attempt(message);
    if (!held) return undefined;
    let stream = held.streams.get(name);
    if (!stream) held.streams.set(name, (stream = new StreamText()));
    return stream;
  }

  /**
   * @param {Message} message
   * @returns {Attempt | undefined}
   */
  _attempt(message) {
    const key = placeOf(message.node_id, message.path);
    const number = message.data?.attempt ?? 1;
    let held = this._places.get(key);
    if (!held || number > held.number) {
      const nodeId = message.node_id ?? "";
      const before = held?.streams ?? new Map();
      held = { number, nodeId, path: message.path ?? "", streams: new Map(), before };
      // A place keeps its turn, as in Python.
      this._places.set(key, held);
    }
    return number === held.number ? held : undefined;
  }

  /**
   * The number of the newest attempt that was heard of, 0 for none.
   *
   * @param {string} nodeId
   * @param {string} [path]
   */
  attempt(nodeId, path = "") {
    return this._places.get(placeOf(nodeId, path))?.number ?? 0;
  }

  /**
   * A stream of the newest attempt, undefined when nothing has arrived.
   *
   * @param {string} nodeId
   * @param {string} [path]
   * @param {string} [name]
   */
  stream(nodeId, path = "", name = "text") {
    return this._places.get(placeOf(nodeId, path))?.streams.get(name);
  }

  /**
   * What has arrived of a stream, with `HOLE` wherever something is missing.
   *
   * @param {string} nodeId
   * @param {string} [path]
   * @param {string} [name]
   */
  text(nodeId, path = "", name = "text") {
    return this.stream(nodeId, path, name)?.shown() ?? "";
  }

  /**
   * How far each stream is known from its beginning, as `subscribe` takes it.
   *
   * @returns {Record<string, number>}
   */
  offsets() {
    /** @type {Record<string, number>} */
    const found = {};
    for (const held of this._places.values()) {
      for (const [name, stream] of held.streams) {
        found[`${held.nodeId}|${held.path}|${held.number}|${name}`] = stream.length;
      }
    }
    return found;
  }

  /**
   * The streams that are not what this end of a node says they are. An attempt that a
   * later one has replaced lacks nothing.
   *
   * @param {Message} message
   * @returns {string[]}
   */
  lacking(message) {
    const data = message.data ?? {};
    const held = this._places.get(placeOf(message.node_id, message.path));
    const attempt = data.attempt ?? held?.number;
    if (held && held.number > attempt) return [];
    const streams = held && held.number === attempt ? held.streams : undefined;
    return Object.entries(data.streams ?? {})
      .filter(([name, summary]) => {
        const stream = streams?.get(name);
        return stream ? stream.differs(summary) : summary.length > 0;
      })
      .map(([name]) => name);
  }
}

/**
 * Takes over as much of the attempt before as still counts; returns whether any.
 *
 * @param {Attempt} attempt
 * @param {Record<string, number>} kept
 */
function keep(attempt, kept) {
  let news = false;
  for (const [name, length] of Object.entries(kept)) {
    const earlier = attempt.before.get(name);
    if (!earlier || earlier.lost) continue;
    for (const [offset, { text, count }] of earlier.pieces()) {
      const part = sliceOf(text, count, 0, Math.max(0, Math.min(count, length - offset)));
      if (!part) continue;
      let stream = attempt.streams.get(name);
      if (!stream) attempt.streams.set(name, (stream = new StreamText()));
      news = stream.merge(offset, part).news || news;
    }
  }
  attempt.before = new Map();
  return news;
}

/**
 * @param {string} [nodeId]
 * @param {string} [path]
 */
function placeOf(nodeId = "", path = "") {
  return `${nodeId}|${path}`;
}
