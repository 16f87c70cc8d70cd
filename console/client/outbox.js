/**
 * One thing to do, as JSON. `do` is one of
 *
 * - `open {connection}`: open a socket; answer with `opened` or `openFailed`.
 * - `close {connection}`: close that socket.
 * - `send {connection, command}`: send a command.
 * - `fetch {id, what, run_id, ...}`: ask by HTTP; answer with `fetched` or `fetchFailed`.
 *   `what` is `events` (one page, with `after_seq` and `wait`), `texts` (all pages, with
 *   `node_id` or null), or `run` (without results).
 * - `give {message}`: an event, `text.delta` or `client.gap` for whoever watches.
 * - `answer {request_id, frame}`: the `ack`, `pong` or `error` of a command.
 * - `done {run_id, error}`: a run is not watched any more; the error is null at its end.
 *
 * @typedef {{do: string, [field: string]: any}} Effect
 */

/**
 * A command whose answer is awaited. `runId` is there where it is a subscription's; `own`
 * says that nobody waits for it.
 *
 * @typedef {{action: string, fields: Record<string, any>, until: number, sent: boolean,
 *   runId: string, own: boolean}} Command
 */

/** Collects what the core wants done, and when it wants to be asked again. */
export class Outbox {
  constructor() {
    /** How many effects there have been. */
    this.count = 0;
    /** @type {number | null} Time of the next `tick`. */
    this.next = null;
    /** @type {Effect[]} */
    this._effects = [];
    this._fetches = 0;
  }

  /** @param {Effect} effect */
  put(effect) {
    this.count += 1;
    this._effects.push(effect);
  }

  /**
   * Adds a question by HTTP.
   *
   * @param {Record<string, any>} fields
   * @returns {number} Its id, which the answer must carry.
   */
  fetch(fields) {
    this._fetches += 1;
    this.put({ do: "fetch", id: this._fetches, ...fields });
    return this._fetches;
  }

  /**
   * Whether a time has come; one that has not is remembered for the next tick.
   *
   * @param {number} at
   * @param {number} now
   */
  due(at, now) {
    if (now >= at) return true;
    this.next = this.next === null ? at : Math.min(this.next, at);
    return false;
  }

  /** The effects since the last time. */
  taken() {
    const effects = this._effects;
    this._effects = [];
    return effects;
  }
}
