/** @typedef {import("../protocol.js").Message} Message */

/**
 * Whether a message has what the client itself reads of it. What a gateway says of itself
 * has no `event`; names and fields that a later version adds are no reason to refuse one.
 *
 * @param {any} message
 * @returns {message is Message}
 */
export function readable(message) {
  if (!isObject(message) || typeof message.event !== "string") return false;
  if (!isText(message.run_id ?? "") || message.run_id === null) return false;
  if (message.data === null || !isObject(message.data ?? {})) return false;
  if (message.event === "text.delta") return isDelta(message);
  return !("seq" in message) || isEvent(message);
}

/**
 * Whether an answer is a page of events.
 *
 * @param {any} answer
 */
export function isPage(answer) {
  const isSeen = (/** @type {any} */ event) => readable(event) && "seq" in event;
  return isObject(answer) && Array.isArray(answer.events) && answer.events.every(isSeen);
}

/**
 * Whether an answer is the rows of stored text.
 *
 * @param {any} answer
 */
export function isTexts(answer) {
  const isRow = (/** @type {any} */ row) =>
    isObject(row) && isDelta({ event: "text.delta", ...row, data: row });
  return Array.isArray(answer) && answer.every(isRow);
}

/** @param {any} message */
function isEvent(message) {
  if (!isCount(message.seq) || message.seq < 1 || !isOfNode(message)) return false;
  const streams = message.data?.streams;
  if (streams === undefined) return true;
  return isObject(streams) && Object.values(streams).every((s) => isObject(s) && isCount(s.length));
}

/** @param {any} message */
function isDelta(message) {
  const data = message.data ?? {};
  return (
    "node_id" in message &&
    isOfNode(message) &&
    isCount(data.attempt) &&
    isCount(data.offset) &&
    isText(data.stream) &&
    isText(data.text)
  );
}

/** @param {any} message */
function isOfNode(message) {
  if (!("node_id" in message)) {
    return !["node.started", "node.completed", "node.failed"].includes(message.event);
  }
  return isText(message.node_id) && isText(message.path);
}

/** @param {any} value */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param {any} value */
function isText(value) {
  return typeof value === "string";
}

/** @param {any} value */
function isCount(value) {
  return Number.isInteger(value) && value >= 0;
}

/**
 * The `error` that a client makes itself when a command got no answer.
 *
 * @param {string} requestId
 * @param {string} message
 * @returns {Message}
 */
export function unavailable(requestId, message) {
  const error = { code: "unavailable", message, retryable: true };
  return { event: "error", data: { request_id: requestId, ...error } };
}
