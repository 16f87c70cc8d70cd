/** One run, by HTTP: what to ask for, and when. */

import { Feed } from "./feed.js";
import { isPage, isTexts } from "./frames.js";
import { jittered } from "./timing.js";

/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("./timing.js").Timing} Timing */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {{code: string, message: string, retryable: boolean, details?: object}} ErrorInfo */

/** Statuses of a run that has ended. */
export const CLOSED = new Set(["completed", "failed", "cancelled", "timed_out"]);

/** Time between two questions by HTTP of which the first brought something. */
const POLL_SOON_S = 0.1;

/** Answers without the text of a node that has ended, before it is given up. */
const TEXT_TRIES = 2;

/** @type {ErrorInfo} */
const NONSENSE = {
  code: "internal",
  message: "the API answered something that makes no sense",
  retryable: true,
};

/**
 * A question by HTTP; `id` is 0 when none is under way. `through` is the last event that
 * waited for text when it was asked; `everything` says of texts that all nodes were asked
 * for, of events that the run was known to have ended.
 */
const notAsked = () => ({ id: 0, through: 0, everything: false });

/**
 * Knows of one run what is missing, and asks for it by HTTP: where there is no socket, for
 * what stays missing, and after a `resync` or `hint`.
 */
export class Pull {
  /**
   * @param {string} runId
   * @param {number} afterSeq
   * @param {number} now
   * @param {{timing: Timing, rand: () => number, out: Outbox}} more
   */
  constructor(runId, afterSeq, now, { timing, rand, out }) {
    this.runId = runId;
    this.feed = new Feed(runId, afterSeq);
    this.heardAt = now;
    this.done = false;
    this._timing = timing;
    this._rand = rand;
    this._out = out;
    this._events = notAsked();
    this._texts = notAsked();
    this._run = notAsked();
    this._eventsWanted = false;
    this._openWanted = false;
    this._eventsAt = now;
    this._textsAt = now;
    /** @type {number | null} */
    this._runAt = null;
    /** @type {number | null} */
    this._behindAt = null;
    this._behindS = timing.behindS;
    /** @type {number | null} */
    this._holeAt = null;
    this._holeS = timing.behindS;
    this._quietS = timing.quietS;
    this._textPauseS = timing.pollS;
    this._tries = 0;
    this._failures = 0;
    /** @type {number | null} */
    this._failingSince = null;
    this._closed = false;
    /** @type {number | null} */
    this._closedHead = null;
  }

  /** @param {number} failures */
  _pause(failures) {
    return jittered(this._timing, this._rand(), failures);
  }

  /**
   * Ends it, with an error or well.
   *
   * @param {ErrorInfo | null} error
   */
  fail(error) {
    if (this.done) return;
    this.done = true;
    this._out.put({ do: "done", run_id: this.runId, error });
  }

  /** @param {Message[]} messages */
  _give(messages) {
    for (const message of messages) this._out.put({ do: "give", message });
    if (this.feed.ended) this.fail(null);
  }

  // -- answers ------------------------------------------------------------------------

  /**
   * Takes the answer to a question by HTTP.
   *
   * @param {number} id
   * @param {any} answer
   * @param {number} now
   */
  fetched(id, answer, now) {
    if (!this._asked(id)) return;
    if (!this._makesSense(id, answer)) {
      this.failed(id, NONSENSE, now);
      return;
    }
    this._failures = 0;
    this._failingSince = null;
    if (id === this._events.id) {
      this._events.id = 0;
      this._page(answer, now);
    } else if (id === this._texts.id) {
      this._texts.id = 0;
      this._rows(answer, now);
    } else {
      this._run.id = 0;
      this._runAt = now + this._timing.answerS;
      this._closed = this._closed || CLOSED.has(answer.status);
    }
  }

  /** @param {number} id */
  _asked(id) {
    return id === this._events.id || id === this._texts.id || id === this._run.id;
  }

  /**
   * @param {number} id
   * @param {any} answer
   */
  _makesSense(id, answer) {
    if (id === this._texts.id) return isTexts(answer);
    return id === this._events.id ? isPage(answer) : typeof answer === "object" && answer !== null;
  }

  /**
   * @param {{events: Message[], head?: number}} page
   * @param {number} now
   */
  _page(page, now) {
    this.feed.cursor.noteHead(page);
    for (const event of page.events) this._give(this.feed.take(event));
    const found = page.events.length > 0;
    if (this._events.everything && !found) this._closedHead = this.feed.cursor.head;
    if (found && this.feed.cursor.behind) {
      this._eventsAt = now;
      this._eventsWanted = true;
    } else {
      this._eventsAt = now + (found ? POLL_SOON_S : this._timing.pollS);
    }
    if (found) {
      this._quietS = this._timing.quietS;
      this._behindS = this._timing.behindS;
      this._runAt = now + this._timing.answerS;
      return;
    }
    this._runAt ??= now;
    this._behindS = Math.min(this._timing.pollMaxS, this._behindS * 2);
  }

  /**
   * @param {Record<string, any>[]} rows
   * @param {number} now
   */
  _rows(rows, now) {
    const { through, everything } = this._texts;
    const atEnd = this.feed.ending && this.feed.blocked <= through;
    const given = this.feed.takeRows(rows, everything && atEnd);
    this._give(given);
    const pause = Math.min(this._textPauseS * 2, this._timing.pollMaxS);
    this._textPauseS = given.length ? this._timing.pollS : pause;
    this._textsAt = now + this._textPauseS;
    this._holeS = Math.min(this._timing.pollMaxS, this._holeS * 2);
    this._holeAt = null;
    const waits = () => this.feed.blocked > 0 && this.feed.blocked <= through;
    if (!waits()) {
      this._tries = 0;
      return;
    }
    this._tries += 1;
    if (this._tries < TEXT_TRIES) {
      this._textsAt = now + this._timing.behindS;
      return;
    }
    this._tries = 0;
    while (waits() && !this.feed.ended) this._give(this.feed.giveUp());
  }

  /**
   * Takes that a question by HTTP got no answer.
   *
   * @param {number} id
   * @param {ErrorInfo} error
   * @param {number} now
   */
  failed(id, error, now) {
    if (!this._asked(id)) return;
    if (id === this._events.id) {
      this._events.id = 0;
      this._eventsWanted = true;
    } else if (id === this._texts.id) {
      this._texts.id = 0;
      this._openWanted = true;
    } else {
      this._run.id = 0;
    }
    this._failingSince ??= now;
    if (now - this._failingSince >= this._timing.giveUpS || !error.retryable) {
      this.fail(error);
      return;
    }
    const again = now + Math.max(POLL_SOON_S, this._pause(this._failures));
    this._failures += 1;
    this._eventsAt = this._textsAt = again;
    if (this._runAt !== null) this._runAt = again;
  }

  // -- what is due --------------------------------------------------------------------

  /** Whether HTTP still owes what a `resync` has left out. */
  _wanting() {
    const asking = this._events.id > 0 || this._texts.id > 0;
    return this._eventsWanted || this._openWanted || asking;
  }

  /**
   * @param {number} now
   * @param {number} connection
   * @param {boolean} pulling
   */
  _askEvents(now, connection, pulling) {
    const { behind, seq } = this.feed.cursor;
    if (!behind) {
      this._behindAt = null;
      this._behindS = this._timing.behindS;
    } else if (!this._events.id) {
      this._behindAt ??= now + this._behindS;
    }
    if (this._events.id) return;
    const due = (/** @type {number} */ at) => this._out.due(at, now);
    const wanted = (pulling || this._eventsWanted) && due(this._eventsAt);
    const late = !pulling && this._behindAt !== null && due(this._behindAt);
    const quiet = connection > 0 && due(this.heardAt + this._quietS);
    if (!wanted && !late && !quiet) return;
    if (quiet) {
      this.heardAt = now;
      this._openWanted = true;
      this._quietS = Math.min(this._timing.quietMaxS, this._quietS * 2);
    }
    this._eventsWanted = false;
    this._behindAt = null;
    const wait = connection || behind ? 0 : this._timing.waitS;
    const fields = { what: "events", run_id: this.runId, after_seq: seq, wait };
    this._events = { id: this._out.fetch(fields), through: 0, everything: this._closed };
  }

  /**
   * @param {number} now
   * @param {boolean} pulling
   */
  _askTexts(now, pulling) {
    if (!this.feed.hasHoles()) {
      this._holeAt = null;
      this._holeS = this._timing.behindS;
    } else {
      this._holeAt ??= now + this._holeS;
    }
    if (this._texts.id) return;
    const due = (/** @type {number} */ at) => this._out.due(at, now);
    const first = this._tries === 0 && this._failures === 0;
    const blocked = this.feed.blocked > 0 && (first || due(this._textsAt));
    const hole = this._holeAt !== null && due(this._holeAt);
    const open = this._open(pulling) && due(this._textsAt);
    if (!blocked && !hole && !open) return;
    const names = this.feed.wanted();
    if (names && open) for (const nodeId of this.feed.unfinished.values()) names.add(nodeId);
    const node = names?.size === 1 ? [...names][0] : null;
    this._openWanted = false;
    const id = this._out.fetch({ what: "texts", run_id: this.runId, node_id: node });
    this._texts = { id, through: this.feed.lastWaiting, everything: node === null };
  }

  /**
   * Whether to ask for the text of nodes that have not ended.
   *
   * @param {boolean} pulling
   */
  _open(pulling) {
    if (this.feed.unfinished.size) return pulling || this._openWanted;
    if (!this._eventsWanted && !this._events.id) this._openWanted = false;
    return false;
  }

  /**
   * Asks whether a run has ended whose end was seen before, or never told.
   *
   * @param {number} now
   */
  _askRun(now) {
    if (this._runAt !== null && this._out.due(this._runAt, now)) {
      this._run = { ...notAsked(), id: this._out.fetch({ what: "run", run_id: this.runId }) };
    }
  }
}
