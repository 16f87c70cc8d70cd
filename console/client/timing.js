/**
 * How long a client waits for what, in seconds. The Python client has the same names
 * and numbers (`joinery/client/timing.py`), where each is explained.
 *
 * @typedef {Object} Timing
 * @property {number} pingS A ping goes out when nothing was sent for this long.
 * @property {number} pongS A ping with no frame after it by then: the connection is dead.
 * @property {number} answerS A command with no answer by then has failed.
 * @property {number} lifetimeS A socket is replaced at this age.
 * @property {number} lifetimeJitterS Up to this much earlier.
 * @property {number} backoffS Longest wait before the first new connection.
 * @property {number} backoffMaxS Longest wait before any new connection.
 * @property {number} slowOpenS HTTP is asked when there was no socket for this long.
 * @property {number} behindS What is missing for this long is asked for by HTTP.
 * @property {number} quietS After this long without a frame of a run HTTP is asked.
 * @property {number} quietMaxS Longest time between two such questions.
 * @property {number} pollS Least time between two questions that bring nothing.
 * @property {number} pollMaxS Longest time between two questions for text.
 * @property {number} waitS How long the API may hold a question for events.
 * @property {number} giveUpS How long the HTTP API may stay away.
 * @property {number} renewS An `unauthorized` on an older socket leads to a new one.
 */

/** @type {Readonly<Timing>} */
export const TIMING = Object.freeze({
  pingS: 240,
  pongS: 15,
  answerS: 30,
  lifetimeS: 6600,
  lifetimeJitterS: 300,
  backoffS: 0.5,
  backoffMaxS: 30,
  slowOpenS: 3,
  behindS: 1,
  quietS: 10,
  quietMaxS: 60,
  pollS: 0.5,
  pollMaxS: 5,
  waitS: 10,
  giveUpS: 60,
  renewS: 60,
});

/**
 * How long to wait after so many failures: all of it is jitter.
 *
 * @param {Timing} timing
 * @param {number} random From 0 to 1.
 * @param {number} failures
 * @returns {number} Seconds.
 */
export function jittered(timing, random, failures) {
  return random * Math.min(timing.backoffMaxS, timing.backoffS * 2 ** Math.min(failures, 16));
}
