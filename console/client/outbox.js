/**
 * One thing to do, as JSON; `do` says what. `core.js` lists them.
 *
 * @typedef {{do: string, [field: string]: any}} Effect
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
