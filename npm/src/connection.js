// One stream that comes back from everything that is not about the request itself.
//
// By fetch and not by the browser's EventSource, which gives up for good at any status but 200, and
// tells neither the status nor its reason.

import { parser } from "./parser.js";
import { ending, problemDetail } from "./words.js";

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const LONGEST_RETRY_AFTER_MS = 3_600_000;
const SLOW_CONNECT_MS = 8_000;
const UNNOTICED_MS = 2_000; // an end that the server planned shows only if the next stream is late
const SILENCE_MS = 60_000; // keep-alives come every 15 to 25 seconds
const TEMPORARY = [408, 421, 425, 429]; // the 4xx that may be different at the next attempt
const LASTING = [204, 501]; // and the others that will not
const PLANNED = ["too_old", "draining"];
const FINAL = "user_changed";
const SLOW = "No answer yet. Do other tabs hold all connections?";

export class Connection {
  #url;
  #onBlock;
  #onState;
  #silence;
  #credentials;
  #request = null; // the AbortController of the present attempt
  #timers = {}; // retry, slow, unnoticed and silence
  #earliest = 0; // the server named the time of the next attempt
  #late = []; // what is reported unless the next stream opens in time
  #seen = 0;
  #retry = 0;
  #failures = 0;
  #state = [];
  #ending = ""; // why the server ended the last stream, in words

  /**
   * `url()` is asked at each attempt. `onBlock` gets each block, `onState(name, why)` has connecting,
   * live, reconnecting or refused. `silence`: after so many ms without a byte the stream counts as lost.
   */
  constructor(url, { onBlock, onState, silence, credentials }) {
    this.#url = url;
    this.#onBlock = onBlock;
    this.#onState = onState;
    this.#silence = silence || SILENCE_MS;
    this.#credentials = credentials;
  }

  #report(...state) {
    if (state.join() !== this.#state.join()) this.#onState(...(this.#state = state));
  }

  #reportLate(ms, ...state) {
    this.#late = state;
    this.#timers.unnoticed ||= setTimeout(() => {
      this.#timers.unnoticed = 0;
      this.#report(...this.#late);
    }, ms);
  }

  /** Opens the stream, or opens it anew, by another URL. */
  open() {
    this.#failures = 0;
    const isLive = this.#state[0] === "live";
    this.#reportLate(isLive * UNNOTICED_MS, "connecting", "");
    this.#timers.silence ||= setInterval(() => this.#checkSilence(), Math.min(this.#silence / 3, 5_000));
    this.#connect();
  }

  close() {
    this.#request?.abort();
    this.#request = null;
    Object.values(this.#timers).forEach(clearTimeout);
    this.#timers = {};
  }

  /** The network is back, the tab is shown, or the machine woke up: no pause has to end first. */
  wake() {
    if (!this.#timers.retry) this.#checkSilence();
    else if (Date.now() >= this.#earliest) this.#connect();
  }

  // The clock of the day, because the others stand still while a machine sleeps. It may be set back.
  #checkSilence() {
    if (!this.#request || Math.abs(Date.now() - this.#seen) < this.#silence) return;
    this.#report("reconnecting", "The stream fell silent.");
    this.#connect();
  }

  async #connect() {
    this.#request?.abort();
    clearTimeout(this.#timers.retry);
    clearTimeout(this.#timers.slow);
    this.#timers.retry = 0;
    this.#seen = Date.now();
    this.#timers.slow = setTimeout(() => this.#report("connecting", SLOW), SLOW_CONNECT_MS);
    const request = (this.#request = new AbortController());
    const end = await this.#read(request).catch(() => ({ why: "The server cannot be reached." }));
    if (this.#request !== request) return; // closed, or opened anew
    request.abort(); // what is not read holds a connection
    this.#request = null;
    clearTimeout(this.#timers.slow);
    if (!end.isFinal) return this.#retryAfter(end);
    this.close();
    this.#report("refused", end.why);
  }

  async #read(request) {
    const response = await fetch(this.#url(), {
      signal: request.signal,
      cache: "no-store",
      credentials: this.#credentials,
      headers: { Accept: "text/event-stream" },
    });
    const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream");
    if (response.status !== 200 || !isStream) return this.#judge(response);
    let reason = "";
    const take = (block) => {
      if (this.#request !== request) return;
      if (block.type === "stream.closing") reason = JSON.parse(block.data).reason;
      this.#take(block, reason);
    };
    const read = parser(take, (ms) => (this.#retry = ms));
    const decoder = new TextDecoder();
    try {
      for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        this.#seen = Date.now();
        read(decoder.decode(value, { stream: true }));
      }
    } catch (error) {
      if (this.#request !== request) throw error;
    }
    const why = reason ? this.#ending : "The connection was lost.";
    return { why, reason, isFinal: reason === FINAL };
  }

  async #judge(response) {
    const { status } = response;
    const isFinal = LASTING.includes(status) || (status > 399 && status < 500 && !TEMPORARY.includes(status));
    const header = response.headers.get("Retry-After");
    const after = /^\d+$/.test(header) ? header * 1_000 : Date.parse(header) - Date.now();
    const why = response.ok ? "The answer was no stream." : await problemDetail(response);
    return { isFinal, why: this.#ending ? `${this.#ending} ${why}` : why, after };
  }

  #take(block, closing) {
    if (closing) this.#ending = (closing === FINAL && this.#ending ? `${this.#ending} ` : "") + ending(closing);
    else {
      this.#failures = 0;
      this.#ending = "";
      clearTimeout(this.#timers.slow);
      clearTimeout(this.#timers.unnoticed);
      this.#timers.unnoticed = 0;
      this.#report("live", "");
    }
    this.#onBlock(block);
  }

  #retryAfter({ why, reason, after }) {
    const isPlanned = !this.#failures && PLANNED.includes(reason);
    const retry = this.#retry || FIRST_PAUSE_MS;
    const longest = Math.min(LONGEST_PAUSE_MS, retry * 2 ** this.#failures);
    let pause = longest * (0.5 + Math.random() / 2);
    if (after > 0) pause = Math.min(after, LONGEST_RETRY_AFTER_MS) * (1 + Math.random() / 10);
    else if (isPlanned) pause = 100 + 900 * Math.random();
    else if (reason) pause = Math.max(pause, retry);
    this.#earliest = after > 0 || reason ? Date.now() + pause : 0;
    this.#failures += 1;
    this.#timers.retry = setTimeout(() => this.#connect(), pause);
    const state = ["reconnecting", `${why} Trying again in ${Math.ceil(pause / 1_000)} s.`];
    if (isPlanned || this.#timers.unnoticed) this.#reportLate(UNNOTICED_MS, ...state);
    else this.#report(...state);
  }
}

/** As the browser's EventSource has it: `<base>` counts, also in a frame without an address. */
export const absolute = (url) => new URL(url, self.document?.baseURI ?? self.location?.href);

/** Wakes, closes and opens a connection as its tab and the network come and go; returns what stops that. */
export function watchTab(connection) {
  const stop = new AbortController();
  const on = (target, type, act) => target.addEventListener(type, act, { signal: stop.signal });
  const wake = () => connection.wake();
  on(self, "online", wake);
  on(document, "visibilitychange", () => document.hidden || wake());
  on(document, "resume", wake);
  // A page that is kept for "back" would keep its connection too.
  on(self, "pagehide", () => connection.close());
  on(self, "pageshow", (event) => event.persisted && connection.open());
  return () => stop.abort();
}
