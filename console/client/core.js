/**
 * The rules of a client without its input and output: frames and time in, effects out.
 *
 * A shell (`live.js`, or yours) owns the connections: it tells the core what happened, and
 * does what `taken()` says (`Effect` in `outbox.js`). The core never waits and never reads a
 * clock, so one file of examples holds for every language. Times are in seconds.
 */

import { readable, unavailable } from "./frames.js";
import { Outbox } from "./outbox.js";
import { TIMING, jittered } from "./timing.js";
import { Watch } from "./watch.js";

/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("./timing.js").Timing} Timing */
/** @typedef {import("./pull.js").ErrorInfo} ErrorInfo */
/** @typedef {import("./outbox.js").Command} Command */

/** Several runs on one socket, and HTTP for what a socket cannot do. */
export class Core {
  /**
   * @param {Object} [options]
   * @param {boolean} [options.socket] Whether there is a WebSocket API at all.
   * @param {Partial<Timing>} [options.timing] How long to wait for what.
   * @param {() => number} [options.rand] Uniform from 0 to 1.
   */
  constructor({ socket = true, timing = {}, rand = Math.random } = {}) {
    this._socket = socket;
    this._timing = { ...TIMING, ...timing };
    this._rand = rand;
    this._out = new Outbox();
    /** @type {Map<string, Watch>} */
    this._watches = new Map();
    /** @type {Map<string, Command>} */
    this._commands = new Map();
    this._requests = 0;
    // The connection: its number, whether it is open, and when it was.
    this._connection = 0;
    this._opening = this._open = this._heard = false;
    this._failures = 0;
    this._openAt = this._openedAt = this._renewAt = this._sentAt = 0;
    this._pingedAt = this._downAt = /** @type {number | null} */ (null);
  }

  /** When `tick` is due, null when only an input can change anything. */
  get next() {
    return this._out.next;
  }

  /** What is to be done since the last time. */
  taken() {
    return this._out.taken();
  }

  // -- what the caller wants ----------------------------------------------------------

  /**
   * Begins to watch a run; one that is watched already goes on as it is.
   *
   * @param {string} runId
   * @param {number} now
   * @param {number} [afterSeq]
   */
  watch(runId, now, afterSeq = 0) {
    if (!this._watches.has(runId)) {
      const more = { timing: this._timing, rand: this._rand, out: this._out };
      this._watches.set(runId, new Watch(runId, afterSeq, now, more));
    }
    this.tick(now);
  }

  /**
   * Ends watching a run.
   *
   * @param {string} runId
   * @param {number} now
   */
  unwatch(runId, now) {
    const watch = this._watches.get(runId);
    this._watches.delete(runId);
    if (watch) {
      watch.fail(null);
      if (this._open && watch.connection === this._connection) {
        this._add("unsubscribe", { run_id: runId }, now, { own: true });
      }
    }
    this.tick(now);
  }

  /**
   * Sends a command as soon as there is a socket.
   *
   * @param {string} action
   * @param {Record<string, any>} fields
   * @param {number} now
   * @returns {string} Its request id.
   */
  command(action, fields, now) {
    const requestId = this._add(action, fields, now);
    if (!this._socket) {
      this._answer(requestId, unavailable(requestId, "there is no WebSocket address"));
    }
    this.tick(now);
    return requestId;
  }

  /**
   * @param {string} action
   * @param {Record<string, any>} fields
   * @param {number} now
   * @param {{runId?: string, own?: boolean}} [more]
   */
  _add(action, fields, now, { runId = "", own = false } = {}) {
    this._requests += 1;
    const until = now + this._timing.answerS;
    const command = { action, fields, until, sent: false, runId, own };
    const requestId = String(fields.request_id ?? this._requests);
    this._commands.set(requestId, command);
    return requestId;
  }

  // -- what happened to the connection ------------------------------------------------

  /**
   * Takes that the socket is open.
   *
   * @param {number} connection
   * @param {number} now
   */
  opened(connection, now) {
    if (connection !== this._connection || !this._opening) return;
    this._opening = false;
    this._open = true;
    this._heard = false;
    this._openedAt = this._sentAt = now;
    this._pingedAt = this._downAt = null;
    const jitter = this._rand() * this._timing.lifetimeJitterS;
    this._renewAt = now + this._timing.lifetimeS - jitter;
    this.tick(now);
  }

  /**
   * Takes that the socket could not be opened.
   *
   * @param {number} connection
   * @param {number} now
   */
  openFailed(connection, now) {
    if (connection !== this._connection || !this._opening) return;
    this._opening = false;
    this._failures += 1;
    this._openAt = now + this._pause();
    for (const [requestId, command] of [...this._commands]) {
      if (command.sent) continue;
      this._answer(requestId, unavailable(requestId, "no socket could be opened"));
    }
    this.tick(now);
  }

  /**
   * Takes that the socket is gone, whoever closed it.
   *
   * @param {number} connection
   * @param {number} now
   */
  closed(connection, now) {
    if (connection !== this._connection || !this._open) return;
    this._failures = this._heard ? 0 : this._failures + 1;
    this._cut(now + this._pause());
    this.tick(now);
  }

  /** Full jitter: everybody whom a restart has cut off comes back, not all at once. */
  _pause() {
    return jittered(this._timing, this._rand(), this._failures);
  }

  /** @param {number} openAt When a new one may be opened. */
  _cut(openAt) {
    this._open = false;
    this._openAt = openAt;
    for (const watch of this._watches.values()) watch.cut();
    for (const [requestId, command] of [...this._commands]) {
      if (command.runId) this._commands.delete(requestId);
      else if (command.sent) {
        const reason = "the connection closed before the answer: it may have been carried out";
        this._answer(requestId, unavailable(requestId, reason));
      }
    }
  }

  /**
   * Replaces the socket at once.
   *
   * @param {number} now
   */
  _renew(now) {
    this._out.put({ do: "close", connection: this._connection });
    this._cut(now);
  }

  // -- frames -------------------------------------------------------------------------

  /**
   * Takes what the socket has brought; what makes no sense is ignored.
   *
   * @param {number} connection
   * @param {any} message
   * @param {number} now
   */
  frame(connection, message, now) {
    if (connection !== this._connection || !this._open) return;
    this._pingedAt = null;
    if (readable(message)) this._take(message, now);
    this.tick(now);
  }

  /**
   * @param {Message} message
   * @param {number} now
   */
  _take(message, now) {
    this._heard = true;
    this._failures = 0;
    const watch = this._watches.get(message.run_id ?? "");
    if (["ack", "pong", "error"].includes(message.event)) this._answered(message, now);
    else if (!watch || watch.done) return;
    else if (message.event === "resync") watch.resync(message, now);
    else if (message.event === "hint") watch.hint(message, now);
    else watch.heard(message, now);
  }

  /**
   * @param {Message} frame
   * @param {number} now
   */
  _answered(frame, now) {
    const data = frame.data ?? {};
    this._watches.get(frame.run_id ?? "")?.feed.cursor.noteHead(frame);
    const requestId = String(data.request_id);
    const command = this._commands.get(requestId);
    if (!command) return;
    if (!command.runId) this._answer(requestId, frame);
    const refused = frame.event === "error";
    if (refused && data.code === "unauthorized" && now - this._openedAt > this._timing.renewS) {
      // The token has expired: a new socket asks for a new one.
      this._renew(now);
      return;
    }
    this._commands.delete(requestId);
    const watch = this._watches.get(command.runId);
    if (!watch || watch.requestId !== requestId) return;
    if (refused) watch.refused(/** @type {any} */ (data), now);
    else watch.acknowledged(frame, now);
  }

  /**
   * @param {string} requestId
   * @param {Message} frame
   */
  _answer(requestId, frame) {
    const own = this._commands.get(requestId)?.own;
    this._commands.delete(requestId);
    if (!own) this._out.put({ do: "answer", request_id: requestId, frame });
  }

  // -- answers of HTTP ----------------------------------------------------------------

  /**
   * Takes the answer to a `fetch`.
   *
   * @param {number} id
   * @param {any} answer
   * @param {number} now
   */
  fetched(id, answer, now) {
    for (const watch of this._watches.values()) if (!watch.done) watch.fetched(id, answer, now);
    this.tick(now);
  }

  /**
   * Takes that a `fetch` got no answer.
   *
   * @param {number} id
   * @param {ErrorInfo} error
   * @param {number} now
   */
  fetchFailed(id, error, now) {
    for (const watch of this._watches.values()) if (!watch.done) watch.failed(id, error, now);
    this.tick(now);
  }

  // -- what is due --------------------------------------------------------------------

  /**
   * Does everything that is due. Too often does no harm.
   *
   * @param {number} now
   */
  tick(now) {
    let before = -1;
    while (before !== this._out.count) {
      // What was done may make something else due, or due later.
      before = this._out.count;
      this._settle(now);
    }
  }

  /** @param {number} now */
  _settle(now) {
    this._out.next = null;
    this._expire(now);
    this._settleConnection(now);
    const connection = this._open ? this._connection : 0;
    const pulling = !this._open && this._pulls(now);
    for (const [runId, watch] of [...this._watches]) {
      const fields = watch.settle(now, connection, pulling);
      if (fields) watch.requestId = this._add("subscribe", fields, now, { runId });
      if (watch.done) this._watches.delete(runId);
    }
    this._send(now);
  }

  /**
   * Whether HTTP has to do: no socket can be had, or one takes long to open.
   *
   * @param {number} now
   */
  _pulls(now) {
    this._downAt ??= now;
    const failed = !this._socket || this._failures > 0;
    return failed || this._out.due(this._downAt + this._timing.slowOpenS, now);
  }

  /** @param {number} now */
  _settleConnection(now) {
    const due = (/** @type {number} */ at) => this._out.due(at, now);
    if (this._open) {
      if (this._pingedAt !== null && due(this._pingedAt + this._timing.pongS)) {
        this._out.put({ do: "close", connection: this._connection });
        this._cut(now + this._pause());
      } else if (due(this._renewAt) && !this._commands.size) {
        this._renew(now);
      } else if (due(this._sentAt + this._timing.pingS) && this._pingedAt === null) {
        this._ping(now);
      }
    }
    const wanted = this._watches.size + this._commands.size > 0;
    if (this._socket && wanted && !this._open && !this._opening && due(this._openAt)) {
      this._connection += 1;
      this._opening = true;
      this._out.put({ do: "open", connection: this._connection });
    }
  }

  /** @param {number} now */
  _ping(now) {
    /** @type {Watch | undefined} */
    let quietest;
    for (const watch of this._watches.values()) {
      if (!quietest || watch.heardAt < quietest.heardAt) quietest = watch;
    }
    this._add("ping", quietest ? { run_id: quietest.runId } : {}, now, { own: true });
    this._pingedAt = now;
  }

  /**
   * Gives up the commands that got no answer in time.
   *
   * @param {number} now
   */
  _expire(now) {
    for (const [requestId, command] of [...this._commands]) {
      if (!this._out.due(command.until, now)) continue;
      if (!command.runId) {
        this._answer(requestId, unavailable(requestId, "no answer in time"));
        continue;
      }
      this._commands.delete(requestId);
      const watch = this._watches.get(command.runId);
      if (watch?.requestId === requestId) watch.unanswered();
    }
  }

  /**
   * Sends what was not sent on this connection.
   *
   * @param {number} now
   */
  _send(now) {
    for (const [requestId, command] of this._commands) {
      this._out.due(command.until, now);
      if (!this._open || command.sent) continue;
      command.sent = true;
      this._sentAt = now;
      const body = { action: command.action, request_id: requestId, ...command.fields };
      this._out.put({ do: "send", connection: this._connection, command: body });
    }
  }
}
