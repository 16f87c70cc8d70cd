/**
 * The JavaScript client: HTTP for requests, a socket for what happens meanwhile. For
 * browsers and Node 20 or newer; no dependencies.
 *
 *     import { JoineryClient } from "./joinery-client.js";
 *
 *     const client = new JoineryClient({ baseUrl, wsUrl, token });
 *     const { run_id } = await client.start(workflowId, { document: "..." });
 *     for await (const batch of client.batches(run_id)) draw(batch);
 *
 * The names are those of the Python client in camelCase; fields of messages and answers
 * keep the names that they have on the wire. `docs/clients.md` tells the rest.
 */

import { Http } from "./client/http.js";
import { Live } from "./client/live.js";

export { merged } from "./client/batches.js";
export { Core } from "./client/core.js";
export { EventCursor } from "./client/cursor.js";
export { JoineryError } from "./client/http.js";
export { Live } from "./client/live.js";
export { TIMING } from "./client/timing.js";
export { Transcript } from "./client/transcript.js";

/** @typedef {import("./protocol.js").Message} Message */

/**
 * @typedef {Object} Options
 * @property {string} baseUrl Address of the HTTP API.
 * @property {string} [wsUrl] Address of the WebSocket API; without it runs are followed by
 *   HTTP alone.
 * @property {string | (() => string | Promise<string>)} [token] Bearer token, or what returns
 *   one that is good now: it is asked again for every request and every socket.
 * @property {Partial<import("./client/timing.js").Timing>} [timing] How long the watching of
 *   runs waits for what, in seconds.
 * @property {typeof fetch} [fetch] Instead of the platform's own.
 * @property {any} [WebSocket] A class instead of the platform's own, such as that of `ws`.
 * @property {import("./client/live.js").OpenSocket} [openSocket] Opens a socket, where a
 *   class is not enough.
 */

/** @typedef {{afterSeq?: number, signal?: AbortSignal}} Following */

/** Speaks to a Joinery installation. */
export class JoineryClient extends Http {
  /** @param {Options} options */
  constructor({ baseUrl, wsUrl = "", token = "", timing, ...platform }) {
    super(baseUrl, token, platform.fetch ?? fetch);
    const kind = platform.WebSocket ?? globalThis.WebSocket;
    const node = "process" in globalThis && !("document" in globalThis);
    /** @type {import("./client/live.js").OpenSocket} */
    const byClass = (url, headers) =>
      Object.keys(headers).length ? new kind(url, { headers }) : new kind(url);
    const openSocket = platform.openSocket ?? byClass;
    const headersWork = node || platform.openSocket !== undefined;
    const possible = platform.openSocket || kind ? wsUrl : "";
    this._live = { wsUrl: possible, openSocket, headersWork, timing };
  }

  /** One socket for several runs and for commands; `close()` it. */
  live() {
    return new Live(this, this._live);
  }

  /**
   * Yields the events and text of a run as they happen, until it has ended. Events come
   * once each and in order; text comes without holes and without repeats. Text that cannot
   * be had is a `client.gap`. A connection that breaks is made again.
   *
   * @param {string} runId
   * @param {Following} [options] `afterSeq`: the last event that the caller has. `signal`
   *   ends the iteration.
   * @returns {AsyncGenerator<Message, void, void>}
   */
  async *follow(runId, { afterSeq = 0, signal } = {}) {
    const live = this.live();
    try {
      live.watch(runId, afterSeq);
      yield* live.messages({ strict: true, signal });
    } finally {
      live.close();
    }
  }

  /**
   * Yields what `follow` yields in batches for a screen. A batch is a list of messages in
   * which each stream of text has one piece.
   *
   * @param {string} runId
   * @param {Following & {everyMs?: number}} [options] `everyMs`: least time between two
   *   batches; by default one for every time that the screen is drawn.
   * @returns {AsyncGenerator<Message[], void, void>}
   */
  async *batches(runId, { afterSeq = 0, everyMs, signal } = {}) {
    const live = this.live();
    try {
      live.watch(runId, afterSeq);
      yield* live.batches({ strict: true, everyMs, signal });
    } finally {
      live.close();
    }
  }
}
