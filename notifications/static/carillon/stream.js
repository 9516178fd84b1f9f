// An EventSource that also survives the errors on which a browser's own one gives up.
//
// When a stream drops, the browser reconnects by itself with its last event id. It gives up for
// good on any HTTP status but 200, even on a temporary 503 of some proxy, and it gives no reason.
// So then we ask the server with fetch, and either stop (the request itself is refused) or make a
// new EventSource with the last cursor after a jittered pause.

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const LONGEST_REFUSAL_MS = 75_000; // a full server asks clients to come back within a minute
const SLOW_CONNECT_MS = 8_000;
const TEMPORARY = new Set([408, 425, 429]); // the 4xx that may be different at the next attempt
const ENDINGS = {
  draining: "The server is restarting.",
  stopping: "The server is restarting.",
  starting: "The server has only just started.",
  fell_behind: "This page read so slowly that the server no longer keeps its next events.",
  user_unknown: "The server cannot look up its users now.",
  signed_out: "You logged out.",
  permission_ended: "You may no longer subscribe to all of these topics.",
  expired: "The permission to subscribe was temporary and has expired.",
  kicked: "An administrator ended the stream.",
  too_old: "The server renews each stream from time to time.",
  too_many_streams: "The server has as many streams as it can hold.",
  too_many_of_address: "Too many streams are open from this network.",
  too_many_of_user: "You have too many streams open.",
};

export class Subscription {
  /** This page's position in the log, from which a new EventSource continues. */
  cursor = "";

  #endpoint;
  #longestSilence;
  #listener;
  #topics = [];
  #failures = 0;
  #source = null;
  #probe = null;
  #closingReason = "";
  #timers = { retry: 0, silence: 0, slow: 0 };

  /**
   * `keepalive` is the mean pause between two keep-alives in seconds. The listener has
   * `state(name, detail)` with connecting, live, reconnecting or refused; `event(envelope)`;
   * `reset(reason)`, when events in between are lost; `denied(topics)`, with the topics that the
   * visitor may not subscribe to, and with none each time that the stream opens.
   */
  constructor(endpoint, keepalive, listener) {
    this.#endpoint = endpoint;
    this.#longestSilence = keepalive * 2_500 + 5_000;
    this.#listener = listener;
    // A laptop that wakes up need not wait for the pause to end.
    addEventListener("online", () => this.#timers.retry && this.#connect());
  }

  /** Continues from the cursor, if there is one, even if the topics have changed. */
  open(topics) {
    this.#topics = topics;
    this.#failures = 0;
    this.#closingReason = "";
    this.#listener.state("connecting", "");
    this.#connect();
  }

  close() {
    this.#source?.close();
    this.#source = null;
    this.#probe?.abort();
    this.#probe = null;
    Object.values(this.#timers).forEach(clearTimeout);
    this.#timers = { retry: 0, silence: 0, slow: 0 };
  }

  #url() {
    const query = new URLSearchParams(this.#topics.map((topic) => ["topic", topic]));
    query.set("envelope", "1");
    if (this.cursor) query.set("last_event_id", this.cursor);
    return `${this.#endpoint}?${query}`;
  }

  #connect() {
    this.close();
    const source = new EventSource(this.#url());
    source.onmessage = (message) => {
      this.#receive(message);
      this.#listener.event(JSON.parse(message.data));
    };
    source.addEventListener("stream.cursor", (message) => this.#receive(message));
    source.addEventListener("stream.reset", (message) => {
      this.#receive(message);
      this.#listener.reset(JSON.parse(message.data).reason);
    });
    source.onopen = () => this.#listener.denied([]);
    source.addEventListener("stream.denied", (message) => {
      this.#receive(message);
      this.#listener.denied(JSON.parse(message.data).topics);
    });
    source.addEventListener("stream.closing", (message) => {
      this.cursor = message.lastEventId || this.cursor;
      this.#closingReason = JSON.parse(message.data).reason;
      this.#watch(Math.max(this.#longestSilence, LONGEST_REFUSAL_MS));
    });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) this.#diagnose();
      else this.#awaitBrowser();
    };
    this.#source = source;
    this.#watch();
    this.#timers.slow = setTimeout(() => this.#explainSlowness(), SLOW_CONNECT_MS);
  }

  #receive(message) {
    this.cursor = message.lastEventId || this.cursor;
    this.#failures = 0;
    this.#closingReason = "";
    clearTimeout(this.#timers.slow);
    this.#watch();
    this.#listener.state("live", "");
  }

  // A network can fail without any error. Then only the missing keep-alives show it.
  #watch(longest = this.#longestSilence) {
    clearTimeout(this.#timers.silence);
    this.#timers.silence = setTimeout(() => {
      this.#listener.state("reconnecting", "The stream fell silent.");
      this.#connect();
    }, longest);
  }

  #explainSlowness() {
    const why = "No answer yet. Over HTTP/1.1 a browser opens six connections to a host: do other tabs hold them?";
    if (this.#source?.readyState === EventSource.CONNECTING) this.#listener.state("connecting", why);
  }

  #awaitBrowser() {
    clearTimeout(this.#timers.slow);
    const why = this.#closingReason ? ending(this.#closingReason) : "The connection was lost.";
    this.#listener.state("reconnecting", `${why} The browser is coming back.`);
  }

  async #diagnose() {
    this.close();
    const probe = new AbortController();
    this.#probe = probe;
    const { permanent, why } = await refusal(this.#url(), probe.signal);
    if (this.#probe !== probe) return; // closed or opened again meanwhile
    this.close();
    if (permanent) this.#listener.state("refused", this.#closingReason ? `${ending(this.#closingReason)} ${why}` : why);
    else this.#retry(why);
  }

  #retry(why) {
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures);
    const pause = longest * (0.5 + Math.random() / 2);
    this.#failures += 1;
    this.#timers.retry = setTimeout(() => this.#connect(), pause);
    this.#listener.state("reconnecting", `${why} Trying again in ${Math.ceil(pause / 1_000)} s.`);
  }
}

/** Why the server did not open the stream, and whether another attempt can succeed. */
async function refusal(url, signal) {
  try {
    const response = await fetch(url, { signal, cache: "no-store" });
    if (response.ok) return { permanent: false, why: "The connection was lost." };
    return {
      permanent: response.status < 500 && !TEMPORARY.has(response.status),
      why: await problemDetail(response),
    };
  } catch {
    return { permanent: false, why: "The server cannot be reached." };
  }
}

/** The text of an error response: the `detail` of RFC 9457, or else its status. */
export async function problemDetail(response) {
  const fallback = `The server answered ${response.status}.`;
  try {
    const problem = await response.json();
    return problem.detail || problem.title || fallback;
  } catch {
    return fallback;
  }
}

/** The reason for which the server ended a stream, as a sentence. */
function ending(reason) {
  return ENDINGS[reason] ?? `The server ended the stream (${readable(reason)}).`;
}

export function readable(reason) {
  return String(reason).replaceAll("_", " ");
}
