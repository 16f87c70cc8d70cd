/** Batches for a screen: what has come since the last one, each stream's text in one piece. */

/** @typedef {import("../protocol.js").Message} Message */

/**
 * Merges the text of each stream into the first piece of it. Text so may come before an
 * event that came before it, never after one that came after it: a node's text is still
 * there before the node's end.
 *
 * @param {Message[]} messages
 * @returns {Message[]} Each stream with one `text.delta` between two of its gaps.
 */
export function merged(messages) {
  /** @type {Message[]} */
  const batch = [];
  /** @type {Map<number, string[]>} */
  const texts = new Map();
  /** @type {Map<string, number>} */
  const places = new Map();
  for (const message of messages) {
    if (message.event === "text.delta") {
      const key = keyOf(message);
      const place = places.get(key);
      if (place !== undefined) {
        /** @type {string[]} */ (texts.get(place)).push(message.data.text);
        continue;
      }
      places.set(key, batch.length);
      texts.set(batch.length, [message.data.text]);
    } else if (message.event === "client.gap") {
      places.delete(keyOf(message));
    }
    batch.push(message);
  }
  for (const [place, parts] of texts) {
    if (parts.length === 1) continue;
    const first = batch[place];
    batch[place] = { ...first, data: { ...first.data, text: parts.join("") } };
  }
  return batch;
}

/** @param {Message} message */
function keyOf({ run_id, node_id, path, data }) {
  return JSON.stringify([run_id, node_id, path, data.attempt, data.stream]);
}

/**
 * Waits for the next moment at which a screen is drawn: a frame of the browser, or half a
 * second for a tab that nobody sees and so draws none; elsewhere 100 ms.
 *
 * @param {number} [everyMs] A time of your own instead.
 * @param {AbortSignal} [signal] Ends the wait.
 * @returns {Promise<void>}
 */
export function nextScreen(everyMs, signal) {
  return new Promise((resolve) => {
    const frames = everyMs === undefined && typeof requestAnimationFrame === "function";
    const timer = setTimeout(done, everyMs ?? (frames ? 500 : 100));
    const frame = frames ? requestAnimationFrame(done) : 0;
    signal?.addEventListener("abort", done);
    function done() {
      clearTimeout(timer);
      if (frames) cancelAnimationFrame(frame);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    if (signal?.aborted) done();
  });
}
