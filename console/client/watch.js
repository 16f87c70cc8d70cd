/** One run that is watched on a socket, with HTTP to help. */

import { CLOSED, Pull } from "./pull.js";

/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("./pull.js").ErrorInfo} ErrorInfo */

/** A message has at most 128 KB; an offset with its names takes up to 200 bytes. */
const OFFSETS_MAX = 500;

/** Subscribes, and takes what the socket brings. */
export class Watch extends Pull {
  /**
   * @param {string} runId
   * @param {number} afterSeq
   * @param {number} now
   * @param {ConstructorParameters<typeof Pull>[3]} more
   */
  constructor(runId, afterSeq, now, more) {
    super(runId, afterSeq, now, more);
    this.connection = 0;
    this.requestId = "";
    this._subscribeAt = now;
    this._refusals = 0;
    this._resync = false;
    this._resyncs = 0;
    this._resyncAt = now;
  }

  // -- frames -------------------------------------------------------------------------

  /**
   * Takes an event or a delta of this run.
   *
   * @param {Message} message
   * @param {number} now
   */
  heard(message, now) {
    this.heardAt = now;
    this._quietS = this._timing.quietS;
    this._give(this.feed.take(message));
  }

  /**
   * Takes a `hint`: something has happened, and HTTP has it.
   *
   * @param {Message} message
   * @param {number} now
   */
  hint(message, now) {
    this.heardAt = now;
    this.feed.cursor.noteHead(message);
    this._eventsWanted = this._openWanted = true;
  }

  /**
   * Takes a `resync`: something was left out, and nothing more comes for now.
   *
   * @param {Message} message
   * @param {number} now
   */
  resync(message, now) {
    this.hint(message, now);
    const calm = now - this._resyncAt > this._timing.quietMaxS;
    this._resyncs = calm ? 1 : this._resyncs + 1;
    this._resync = true;
    this._resyncAt = now;
    this._subscribeAt = now + this._pause(this._resyncs);
  }

  /**
   * Takes the `ack` of its subscription.
   *
   * @param {Message} frame
   * @param {number} now
   */
  acknowledged(frame, now) {
    this.heardAt = now;
    this.requestId = "";
    this._refusals = 0;
    this.feed.cursor.noteHead(frame);
    if (CLOSED.has(frame.data?.status)) this._closedHead = this.feed.cursor.head;
  }

  /**
   * Takes the `error` of its subscription.
   *
   * @param {ErrorInfo} error
   * @param {number} now
   */
  refused(error, now) {
    this.requestId = "";
    if (!error.retryable) {
      const { request_id: _, ...shown } = /** @type {any} */ (error);
      this.fail(shown);
      return;
    }
    this._refusals += 1;
    this.connection = 0;
    this._subscribeAt = now + this._pause(this._refusals);
  }

  // -- what is due --------------------------------------------------------------------

  /**
   * Does what is due.
   *
   * @param {number} now
   * @param {number} connection Number of the open connection, 0 when there is none.
   * @param {boolean} pulling HTTP has to do, as there is no socket.
   * @returns {Record<string, any> | null} The fields of a `subscribe` that is to be sent.
   */
  settle(now, connection, pulling) {
    if (this.done) return null;
    const { cursor } = this.feed;
    if (this._closedHead !== null && cursor.seq >= this._closedHead && !this.feed.blocked) {
      this.fail(null);
      return null;
    }
    const command = connection ? this._subscribe(connection, now) : null;
    const pull = pulling || this._resync;
    this._askEvents(now, connection, pull);
    this._askTexts(now, pull);
    if (pull && !this._run.id && cursor.seq && !cursor.behind) this._askRun(now);
    return command;
  }

  /**
   * @param {number} connection
   * @param {number} now
   */
  _subscribe(connection, now) {
    if (this._resync && (this._wanting() || this.feed.cursor.behind)) return null;
    if (this.connection === connection && !this._resync) return null;
    if (!this._out.due(this._subscribeAt, now)) return null;
    this._resync = false;
    this.connection = connection;
    // What is known beyond these comes again, which is harmless.
    const some = Object.entries(this.feed.transcript.offsets()).slice(-OFFSETS_MAX);
    const offsets = Object.fromEntries(some);
    return { run_id: this.runId, after_seq: this.feed.cursor.seq, offsets };
  }

  // -- connections --------------------------------------------------------------------

  /** Takes that the connection is gone. */
  cut() {
    this.connection = 0;
    this.requestId = "";
    this._resync = false;
  }

  /** Takes that its subscription got no answer in time: it is sent again. */
  unanswered() {
    this.connection = 0;
    this.requestId = "";
  }
}
