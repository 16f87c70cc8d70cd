/** Does what the core says: one socket, questions by HTTP, and time. */

import { merged, nextScreen } from "./batches.js";
import { Core } from "./core.js";
import { JoineryError } from "./http.js";

/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("./outbox.js").Effect} Effect */
/** @typedef {import("./http.js").Http} Http */
/** @typedef {import("./timing.js").Timing} Timing */

/**
 * Opens a socket. `headers` is empty where a ticket stands in the address.
 *
 * @typedef {(url: string, headers: Record<string, string>) => WebSocket} OpenSocket
 */

const OPEN_MS = 10_000;

/** Commands whose request id is random: the same one again changes nothing. */
const KEYED = new Set(["input", "start"]);

/**
 * One socket on which several runs are watched and commands are sent. It is opened when
 * there is something to do, opened again when it breaks, and replaced before API Gateway
 * closes it after two hours. `close()` it.
 */
export class Live {
  /**
   * @param {Http} http
   * @param {{wsUrl: string, openSocket: OpenSocket, headersWork: boolean,
   *   timing?: Partial<Timing>}} options `headersWork`: whether a socket may be opened with
   *   headers, as browsers cannot.
   */
  constructor(http, { wsUrl, openSocket, headersWork, timing }) {
    this._http = http;
    this._wsUrl = wsUrl;
    this._openSocket = openSocket;
    this._headersWork = headersWork;
    this._tickets = true;
    this._core = new Core({ socket: wsUrl !== "", timing });
    /** @type {Map<number, WebSocket>} */
    this._sockets = new Map();
    /** @type {Message[]} */
    this._queue = [];
    /** @type {Set<string>} */
    this._watched = new Set();
    /** @type {Map<string, (frame: Message) => void>} */
    this._answers = new Map();
    /** @type {(() => void)[]} */
    this._sleepers = [];
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this._timer = undefined;
    this._closing = new AbortController();
  }

  /** Closes the socket and ends everything that was under way. */
  close() {
    this._closing.abort();
    clearTimeout(this._timer);
    for (const socket of this._sockets.values()) socket.close();
    this._sockets.clear();
    this._wake();
  }

  // -- what the caller wants ----------------------------------------------------------

  /**
   * Begins to watch a run, after the last event that the caller has.
   *
   * @param {string} runId
   * @param {number} [afterSeq]
   */
  watch(runId, afterSeq = 0) {
    this._watched.add(runId);
    this._tell((now) => this._core.watch(runId, now, afterSeq));
  }

  /**
   * Ends watching a run.
   *
   * @param {string} runId
   */
  unwatch(runId) {
    this._tell((now) => this._core.unwatch(runId, now));
  }

  /**
   * Sends a command, such as `pause` with `run_id`. A `start` and an `input` may bring a
   * `request_id` of 8 to 64 random characters: the same one again changes nothing.
   *
   * @param {string} action
   * @param {Record<string, any>} [fields]
   * @returns {Promise<Message>} Its `ack` or `pong`.
   * @throws {JoineryError} What the server answered; `unavailable` when there is no socket,
   *   or none that answers. When it broke after the command was sent, nobody knows whether
   *   it was carried out.
   */
  async command(action, fields = {}) {
    const given = KEYED.has(action) ? { request_id: crypto.randomUUID(), ...fields } : fields;
    const requestId = this._core.command(action, given, seconds());
    /** @type {Promise<Message>} */
    const answer = new Promise((resolve) => this._answers.set(requestId, resolve));
    this._do();
    const frame = await answer;
    if (frame.event === "error") throw new JoineryError(/** @type {any} */ (frame.data));
    return frame;
  }

  /**
   * Yields the messages of all watched runs until all have ended.
   *
   * @param {{strict?: boolean, signal?: AbortSignal}} [options] `strict`: throw what ends the
   *   watching of a run; else it is a `client.error` message, and the other runs go on.
   */
  async *messages({ strict = false, signal } = {}) {
    for await (const messages of this._taken(signal)) {
      for (const message of messages) yield checked(message, strict);
    }
  }

  /**
   * Yields batches for a screen: the first at once, then one for every time that the
   * screen is drawn, or every `everyMs`.
   *
   * @param {{everyMs?: number, strict?: boolean, signal?: AbortSignal}} [options]
   */
  async *batches({ everyMs, strict = false, signal } = {}) {
    for await (const messages of this._taken(signal)) {
      for (const message of messages) checked(message, strict);
      yield merged(messages);
      if (this._watched.size) await nextScreen(everyMs, signal);
    }
  }

  /**
   * @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<Message[], void, void>}
   */
  async *_taken(signal) {
    const wake = () => this._wake();
    signal?.addEventListener("abort", wake);
    try {
      for (;;) {
        if (signal?.aborted) return;
        if (this._queue.length) yield this._queue.splice(0);
        else if (this._closing.signal.aborted || !this._watched.size) return;
        else await new Promise((resolve) => this._sleepers.push(() => resolve(null)));
      }
    } finally {
      signal?.removeEventListener("abort", wake);
    }
  }

  _wake() {
    for (const wake of this._sleepers.splice(0)) wake();
  }

  // -- doing --------------------------------------------------------------------------

  /** @param {(now: number) => void} take */
  _tell(take) {
    take(seconds());
    this._do();
  }

  /** Carries out what the core says, and sets the clock for the next time. */
  _do() {
    if (this._closing.signal.aborted) return;
    for (const effect of this._core.taken()) this._carryOut(effect);
    clearTimeout(this._timer);
    const due = this._core.next;
    if (due === null) return;
    const pause = Math.max(0, (due - seconds()) * 1000);
    this._timer = setTimeout(() => this._tell((now) => this._core.tick(now)), pause);
  }

  /** @param {Effect} effect */
  _carryOut(effect) {
    switch (effect.do) {
      case "give":
        this._queue.push(effect.message);
        return this._wake();
      case "done":
        this._watched.delete(effect.run_id);
        if (effect.error) {
          this._queue.push({ event: "client.error", run_id: effect.run_id, data: effect.error });
        }
        return this._wake();
      case "answer":
        // An answer may come before `command` has stored who waits for it.
        return queueMicrotask(() => {
          this._answers.get(effect.request_id)?.(effect.frame);
          this._answers.delete(effect.request_id);
        });
      case "open":
        return void this._connect(effect.connection);
      case "close":
        return this._drop(effect.connection);
      case "send":
        return this._sockets.get(effect.connection)?.send(JSON.stringify(effect.command));
      case "fetch":
        return void this._ask(effect);
    }
  }

  // -- the socket ---------------------------------------------------------------------

  /** @param {number} connection */
  async _connect(connection) {
    let socket;
    try {
      const [url, headers] = await this._address();
      if (this._closing.signal.aborted) return;
      socket = this._openSocket(url, headers);
    } catch {
      this._tell((now) => this._core.openFailed(connection, now));
      return;
    }
    this._sockets.set(connection, socket);
    const late = setTimeout(() => this._drop(connection), OPEN_MS);
    socket.onopen = () => {
      clearTimeout(late);
      this._tell((now) => this._core.opened(connection, now));
    };
    socket.onmessage = (event) => {
      const message = parsed(event.data);
      this._tell((now) => this._core.frame(connection, message, now));
    };
    socket.onerror = () => undefined; // the close that follows says all
    socket.onclose = () => {
      clearTimeout(late);
      if (this._sockets.get(connection) === socket) this._gone(connection);
    };
  }

  /**
   * Where to open the socket: with a ticket where the API gives one, else with a header.
   *
   * @returns {Promise<[string, Record<string, string>]>}
   */
  async _address() {
    const headers = await this._http.headers();
    if (!headers.Authorization) return [this._wsUrl, {}];
    if (this._tickets) {
      try {
        const { ticket } = await this._http.ticket({ tries: 1, signal: this._closing.signal });
        const mark = this._wsUrl.includes("?") ? "&" : "?";
        return [`${this._wsUrl}${mark}ticket=${encodeURIComponent(ticket)}`, {}];
      } catch (error) {
        if (!(error instanceof JoineryError) || error.code !== "not_found") throw error;
        this._tickets = false;
      }
    }
    if (!this._headersWork) throw new Error("this platform cannot send a token by socket");
    return [this._wsUrl, headers];
  }

  /**
   * Closes a socket. One that hangs would report its end much later, or never.
   *
   * @param {number} connection
   */
  _drop(connection) {
    const socket = this._sockets.get(connection);
    this._gone(connection);
    socket?.close();
  }

  /** @param {number} connection */
  _gone(connection) {
    this._sockets.delete(connection);
    this._tell((now) => {
      // Whether it was open the core knows; one of the two means nothing to it.
      this._core.openFailed(connection, now);
      this._core.closed(connection, now);
    });
  }

  // -- HTTP ---------------------------------------------------------------------------

  /** @param {Effect} effect */
  async _ask(effect) {
    let answer;
    try {
      answer = await this._fetch(effect);
    } catch (error) {
      const { code, message, details } = asInfo(error);
      // A defect of the moment; the core gives up when it stays.
      const retryable = asInfo(error).retryable || code === "internal";
      const info = { code, message, retryable, details };
      this._tell((now) => this._core.fetchFailed(effect.id, info, now));
      return;
    }
    this._tell((now) => this._core.fetched(effect.id, answer, now));
  }

  /** @param {Effect} effect */
  _fetch({ what, run_id, after_seq, wait, node_id }) {
    const options = { tries: 1, signal: this._closing.signal };
    if (what === "events") return this._http.eventsPage(run_id, after_seq, { wait, ...options });
    if (what === "texts") return this._http.texts(run_id, node_id, options);
    return this._http.get(run_id, { results: false, ...options });
  }
}

/** @param {unknown} error */
function asInfo(error) {
  if (error instanceof JoineryError) return error;
  return new JoineryError({ code: "internal", message: String(error) });
}

/** @param {unknown} data */
function parsed(data) {
  try {
    return JSON.parse(String(data));
  } catch {
    return null;
  }
}

/** The time by a clock that nobody sets. */
function seconds() {
  return performance.now() / 1000;
}

/**
 * @param {Message} message
 * @param {boolean} strict
 */
function checked(message, strict) {
  if (strict && message.event === "client.error") {
    throw new JoineryError(/** @type {any} */ (message.data));
  }
  return message;
}
