/** Requests to the HTTP API. */

/** @typedef {import("../protocol.js").Message} Message */

const TIMEOUT_MS = 35_000;
const TRIES = 4;
const FIRST_PAUSE_MS = 200;
const RETRIED = new Set([429, 502, 503, 504]);
const EVENTS_PAGE = 500;

/** @type {Record<number, string>} What a gateway's own answer means. */
const CODES = {
  400: "invalid_request",
  401: "unauthorized",
  403: "unauthorized",
  404: "not_found",
  409: "conflict",
  413: "too_large",
  422: "invalid_request",
  429: "unavailable",
};

/** An error of the API, or of the way to it. `code` is stable; `message` is for people. */
export class JoineryError extends Error {
  /** @param {{code: string, message: string, retryable?: boolean, details?: any}} info */
  constructor({ code, message, retryable = false, details }) {
    super(message);
    this.name = "JoineryError";
    this.code = code;
    this.retryable = retryable;
    this.details = details ?? {};
  }
}

/**
 * @typedef {Object} Call
 * @property {any} [body]
 * @property {Record<string, string>} [headers]
 * @property {Record<string, string | number | undefined>} [params]
 * @property {number} [tries] 1 where the caller repeats it by itself.
 * @property {AbortSignal} [signal]
 */

/**
 * The routes of the HTTP API, one method each. Every request may be repeated without harm,
 * and is, when the connection breaks or the API is busy.
 */
export class Http {
  /**
   * @param {string} baseUrl
   * @param {string | (() => string | Promise<string>)} token
   * @param {typeof fetch} fetcher
   */
  constructor(baseUrl, token, fetcher) {
    this.baseUrl = baseUrl.replace(/\/+$/, "");
    this._token = token;
    this._fetch = fetcher;
  }

  /** What says who is calling. @returns {Promise<Record<string, string>>} */
  async headers() {
    const token = typeof this._token === "function" ? await this._token() : this._token;
    return token ? { Authorization: `Bearer ${token}` } : {};
  }

  /** What the API says of itself; needs no token. */
  health() {
    return this.request("GET", "/health");
  }

  /**
   * Publishes a workflow; an unchanged one keeps its version.
   *
   * @param {string | object} source The text of the file, or the workflow as an object.
   * @param {{opt?: number}} [more]
   */
  publish(source, { opt } = {}) {
    return this.request("POST", "/workflows", { body: { source, opt } });
  }

  /** The newest version of each of your workflows. @returns {Promise<any[]>} */
  async workflows() {
    return (await this.request("GET", "/workflows")).workflows;
  }

  /**
   * A workflow with its source, the newest version by default.
   *
   * @param {string} workflowId
   * @param {number} [version]
   */
  workflow(workflowId, version) {
    return this.request("GET", `/workflows/${part(workflowId)}`, { params: { version } });
  }

  /**
   * Starts a run.
   *
   * @param {string} workflowId
   * @param {Record<string, any>} inputs
   * @param {{version?: number, sessionId?: string, cassette?: any, model?: string,
   *   idempotencyKey?: string}} [more] The same key again gives the same run.
   */
  start(workflowId, inputs, { version, sessionId, cassette, model, idempotencyKey } = {}) {
    const names = { workflow_id: workflowId, session_id: sessionId };
    const body = { ...names, inputs, version, cassette, model };
    const key = idempotencyKey ?? crypto.randomUUID();
    return this.request("POST", "/runs", { body, headers: { "Idempotency-Key": key } });
  }

  /**
   * A page of your runs, newest first: `{runs, next_cursor}`.
   *
   * @param {{limit?: number, cursor?: string}} [page]
   */
  runs({ limit = 50, cursor } = {}) {
    return this.request("GET", "/runs", { params: { limit, cursor } });
  }

  /**
   * A run with its nodes, and with outputs and results.
   *
   * @param {string} runId
   * @param {{results?: boolean, signal?: AbortSignal}} [more]
   */
  get(runId, { results = true, signal } = {}) {
    const params = { results: results ? undefined : "false" };
    return this.request("GET", `/runs/${part(runId)}`, { params, signal });
  }

  /**
   * The stored events above a seq without a gap.
   *
   * @param {string} runId
   * @param {number} [afterSeq]
   * @returns {Promise<Message[]>}
   */
  async events(runId, afterSeq = 0) {
    const found = [];
    for (let after = afterSeq; ; ) {
      const page = await this.eventsPage(runId, after);
      found.push(...page.events);
      after = page.next_after_seq;
      if (!page.events.length || after >= page.head) return found;
    }
  }

  /**
   * A page of stored events: `{events, head, next_after_seq}`.
   *
   * @param {string} runId
   * @param {number} [afterSeq]
   * @param {{limit?: number, wait?: number, tries?: number, signal?: AbortSignal}} [more]
   *   `wait`: how long the API may wait for an event, in seconds up to 10.
   */
  eventsPage(runId, afterSeq = 0, { limit = EVENTS_PAGE, wait, tries, signal } = {}) {
    const params = { after_seq: afterSeq, limit, wait: wait || undefined };
    return this.request("GET", `/runs/${part(runId)}/events`, { params, tries, signal });
  }

  /**
   * The stored text of a run, or of one node: rows
   * `{node_id, path, attempt, stream, offset, text}`.
   *
   * @param {string} runId
   * @param {string | null} [nodeId]
   * @param {{tries?: number, signal?: AbortSignal}} [more]
   */
  async texts(runId, nodeId = null, { tries, signal } = {}) {
    const rows = [];
    for (let cursor; ; ) {
      const params = { node_id: nodeId ?? undefined, cursor };
      const path = `/runs/${part(runId)}/texts`;
      const page = await this.request("GET", path, { params, tries, signal });
      rows.push(...page.texts);
      cursor = page.next_cursor;
      if (!cursor) return rows;
    }
  }

  /** Cancels a run; cancelling it again does nothing. @param {string} runId */
  cancel(runId) {
    return this.request("POST", `/runs/${part(runId)}/cancel`);
  }

  /** Pauses a run between two nodes. @param {string} runId */
  pause(runId) {
    return this.request("POST", `/runs/${part(runId)}/pause`);
  }

  /**
   * Lets a run go on that was paused, has failed or is out of budget.
   *
   * @param {string} runId
   * @param {{budget?: {tokens?: number, usd?: number}}} [more]
   */
  resume(runId, { budget } = {}) {
    const body = budget && { budget };
    return this.request("POST", `/runs/${part(runId)}/resume`, { body });
  }

  /**
   * Lets a run go on that its breaker has stopped: for a reason, or after all three checks.
   *
   * @param {string} runId
   * @param {{because?: string, checks?: ("content" | "cost" | "risk")[]}} why
   */
  unlock(runId, { because = "", checks = [] }) {
    const body = { because, checks };
    return this.request("POST", `/runs/${part(runId)}/unlock`, { body });
  }

  /**
   * Answers a question of a run, or tells its agents something. A question without options and
   * schema takes text, an agent takes text; `path` is needed where several rounds or items wait.
   *
   * @param {string} runId
   * @param {any} value
   * @param {{nodeId?: string, path?: string, idempotencyKey?: string}} [what]
   */
  input(runId, value, { nodeId, path, idempotencyKey } = {}) {
    const headers = { "Idempotency-Key": idempotencyKey ?? crypto.randomUUID() };
    const body = { value, node_id: nodeId, path };
    return this.request("POST", `/runs/${part(runId)}/input`, { body, headers });
  }

  /**
   * Starts a new run that takes over what had ended before a node, and runs the rest.
   *
   * @param {string} runId
   * @param {{nodeId?: string, path?: string, inputs?: object, idempotencyKey?: string}} [what]
   */
  fork(runId, { nodeId, path, inputs = {}, idempotencyKey } = {}) {
    const headers = { "Idempotency-Key": idempotencyKey ?? crypto.randomUUID() };
    const body = { node_id: nodeId, path, inputs };
    return this.request("POST", `/runs/${part(runId)}/fork`, { body, headers });
  }

  /** Deletes a run that has ended, with all that it has stored. @param {string} runId */
  delete(runId) {
    return this.request("DELETE", `/runs/${part(runId)}`);
  }

  /** What a run used. @param {string} runId */
  cost(runId) {
    return this.request("GET", `/runs/${part(runId)}/cost`);
  }

  /**
   * What opens one socket without a header: `{ticket, expires_at}`, good for 30 seconds.
   *
   * @param {Call} [more]
   */
  ticket(more = {}) {
    return this.request("POST", "/tickets", more);
  }

  /**
   * Sends a request, again where that may help: it must be one that may come twice.
   *
   * @param {string} method
   * @param {string} path
   * @param {Call} [call]
   * @returns {Promise<any>}
   * @throws {JoineryError}
   */
  async request(method, path, call = {}) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this._send(method, path, call);
      } catch (error) {
        const again = error instanceof JoineryError && error.code === "unavailable";
        if (!again || attempt >= (call.tries ?? TRIES)) throw error;
      }
      const pause = FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + Math.random());
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {Call} call
   */
  async _send(method, path, { body, headers, params, signal }) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(params ?? {})) {
      if (value !== undefined) query.set(name, String(value));
    }
    const url = `${this.baseUrl}${path}${query.size ? `?${query}` : ""}`;
    const content = body === undefined ? undefined : JSON.stringify(body);
    /** @type {Record<string, string>} */
    const kind = content === undefined ? {} : { "Content-Type": "application/json" };
    const all = { ...(await this.headers()), ...kind, ...headers };
    const [until, release] = limited(signal);
    let response;
    let text;
    try {
      const init = { method, headers: all, body: content, signal: until };
      response = await this._fetch.call(undefined, url, init);
      text = await response.text();
    } catch (error) {
      if (signal?.aborted) throw error;
      const message = `no answer from ${this.baseUrl}: ${error}`;
      throw new JoineryError({ code: "unavailable", message, retryable: true });
    } finally {
      release();
    }
    return outcome(response.status, text, method);
  }
}

/**
 * A signal that comes when another does, or when time is up. (`AbortSignal.any` is younger
 * than some browsers in use.)
 *
 * @param {AbortSignal} [signal]
 * @returns {[AbortSignal, () => void]} It, and what to call when it is not needed any more.
 */
function limited(signal) {
  const control = new AbortController();
  const abort = () => control.abort();
  const timer = setTimeout(abort, TIMEOUT_MS);
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  const release = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  };
  return [control.signal, release];
}

/**
 * @param {number} status
 * @param {string} text
 * @param {string} method
 */
function outcome(status, text, method) {
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = undefined;
  }
  const isObject = typeof answer === "object" && answer !== null;
  if (status >= 200 && status < 300) {
    if (isObject) return answer;
    if (method === "DELETE") return {};
  }
  const shown = isObject && typeof answer.error === "object" ? answer.error : undefined;
  const reason = (isObject && answer.message) || "no reason given";
  const message = shown?.message ?? `the API answered ${status}: ${reason}`;
  const named = shown?.code ?? (status >= 502 ? "unavailable" : (CODES[status] ?? "internal"));
  const code = RETRIED.has(status) ? "unavailable" : named;
  const retryable = shown?.retryable ?? code === "unavailable";
  throw new JoineryError({ code, message, retryable, details: shown?.details });
}

/** @param {string} id */
function part(id) {
  return encodeURIComponent(id);
}
