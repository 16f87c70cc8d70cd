/** @typedef {import("../protocol.js").Message} Message */

/** A client's place in the log of a run: puts events in order, holds those after a hole. */
export class EventCursor {
  /** @param {number} [afterSeq] The last event that the caller has. */
  constructor(afterSeq = 0) {
    /** Highest contiguous seq; everything up to it was given out once. */
    this.seq = afterSeq;
    /** Highest seq that the server is known to have drawn. */
    this.head = afterSeq;
    /** @type {Map<number, Message>} */
    this._held = new Map();
  }

  /** Whether the server has events that were not given out yet. */
  get behind() {
    return this.head > this.seq;
  }

  /**
   * Learns from any frame how far the log goes.
   *
   * @param {{head?: unknown}} message
   */
  noteHead(message) {
    if (Number.isInteger(message.head)) {
      this.head = Math.max(this.head, /** @type {number} */ (message.head));
    }
  }

  /**
   * Takes an event as it arrived.
   *
   * @param {Message} event
   * @returns {Message[]} Those that are next in order; none for one that was seen before.
   */
  offer(event) {
    this.noteHead(event);
    const seq = /** @type {number} */ (event.seq);
    this.head = Math.max(this.head, seq);
    if (seq <= this.seq || this._held.has(seq)) return [];
    this._held.set(seq, event);
    const following = [];
    for (;;) {
      const next = this._held.get(this.seq + 1);
      if (next === undefined) return following;
      this.seq += 1;
      this._held.delete(this.seq);
      following.push(next);
    }
  }
}
