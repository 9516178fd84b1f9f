// The events of a page: who wants which, when the state has to be fetched, and how the stream is.

import { compare } from "./cursors.js";
import { absolute, watchTab } from "./connection.js";
import { Versions } from "./snapshot.js";
import { OwnConnection, SharedConnection, canShare } from "./tabs.js";

const LONGEST_TOPIC_BYTES = 255;
const LONGEST_PAUSE_MS = 30_000;

export class Live {
  #address;
  #topics;
  #start;
  #connection = null;
  #unwatch = null;
  #handlers = new Set();
  #versions = new Versions();
  #source = null; // the snapshot
  #isFirst = true;
  #held = null; // events that wait for the snapshot
  #runs = 0;
  #floor = ""; // the cursor of the snapshot
  #status = ["connecting", ""];
  #stream = this.#status; // which may be live while the snapshot fails
  #fault = ""; // why the snapshot fails

  constructor(url, { topics, since, user, share = true, silence, credentials } = {}) {
    this.#address = new Address(url, user);
    this.#topics = new Set([...this.#address.topics, ...(topics ?? [])].map(checked));
    this.#start = startOf(since ?? this.#address.since);
    const isShared = share && this.#address.user && this.#topics.size && canShare();
    const options = {
      silence,
      credentials,
      onBlock: (block) => this.#take(block),
      onState: (...state) => this.#show((this.#stream = state)),
    };
    const kind = isShared ? SharedConnection : OwnConnection;
    this.#connection = new kind(this.#address, this.#topics, this.#start, options);
    // Handlers that are set in the same turn get the first event.
    queueMicrotask(() => this.#connection && this.#open());
  }

  /** connecting, live, reconnecting, refused or closed. */
  get status() {
    return this.#status[0];
  }

  /** Why, in words. */
  get reason() {
    return this.#status[1];
  }

  /** The position up to which this page has everything: another `carillon` may begin there. */
  get cursor() {
    return this.#start.cursor ?? "";
  }

  /**
   * Calls `handler(event)` for each event of this type, or with a topic that this pattern covers, as
   * patterns of the server do: `on("paid", …)`, `on("orders.*", …)`, `on("*", …)`. With a type and a
   * pattern, for events with both: `on("paid", "orders.*", …)`. Returns a function that ends that.
   */
  on(name, ...rest) {
    const handle = rest.pop();
    const covers = patternOf(rest[0] ?? name);
    const handler = (event) => {
      const isType = event.type === name;
      const isTopic = event.topics.some((topic) => covers.test(topic));
      const isWanted = rest.length ? isTopic && (isType || name === "*") : isType || isTopic;
      if (isWanted) handle(event);
    };
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  /**
   * Fetches the state: now, and whenever events may be missing; events wait meanwhile. `source` is a
   * function that may be async, or a URL whose JSON is given to `show`. `first: false` for a page that
   * holds the state already.
   */
  snapshot(source, show, { first = true } = {}) {
    const options = typeof show === "object" ? show : { first };
    this.#source = typeof source === "function" ? source : () => this.#fetchState(source, show);
    if (options.first === false && this.#start.since !== "none") this.#isFirst = false;
    else if (this.status === "live" && this.#isFirst) this.#fetch();
    return this;
  }

  /** Fetches the state anew, as after a reset. */
  refresh() {
    if (this.#source) this.#fetch();
  }

  /** Adds and removes topics. Returns those that are subscribed to. */
  topics(add = [], remove = []) {
    [add].flat().map(checked).forEach((topic) => this.#topics.add(topic));
    [remove].flat().forEach((topic) => this.#topics.delete(topic));
    if (add.length || remove.length) this.#connection?.change();
    return [...this.#topics];
  }

  close() {
    this.#unwatch?.();
    this.#connection?.close();
    this.#connection = null;
    this.#runs += 1;
    this.#held = null;
    this.#show(["closed", ""]);
    this.#handlers.clear();
  }

  #open() {
    if (self.document) {
      this.#versions.noteElements(document);
      this.#unwatch = watchTab(this.#connection);
    }
    this.#connection.open();
  }

  #show(state = this.#stream) {
    if (this.status === "closed") return;
    const before = this.#status.join();
    this.#status = this.#fault && state[0] === "live" ? ["reconnecting", this.#fault] : state;
    const [status, reason] = this.#status;
    if (this.#status.join() !== before) this.#call({ type: "stream.status", topics: [], data: { status, reason } });
  }

  #take({ type, data, id }) {
    const content = JSON.parse(data);
    if (type === "message") {
      const event = { ...content, cursor: id };
      if (this.#held) this.#held.push(event);
      else this.#bring(event);
      return;
    }
    if (type === "stream.reset" || (type === "stream.cursor" && this.#isFirst)) {
      if (type === "stream.reset") this.#held &&= [];
      this.refresh();
    }
    this.#call({ type, topics: [], data: content, cursor: id });
  }

  #bring(event) {
    if (compare(event.cursor, this.#floor) <= 0 || !this.#versions.isNews(event.data)) return;
    this.#call(event);
  }

  #call(event) {
    for (const handler of [...this.#handlers]) {
      try {
        handler(event);
      } catch (error) {
        // The fault of one handler is no reason for others to miss the event.
        reportError(error);
      }
    }
  }

  // The snapshot

  async #fetch() {
    this.#isFirst = false;
    this.#held ??= [];
    const run = (this.#runs += 1);
    for (let failures = 0; ; failures += 1) {
      try {
        const state = await this.#source();
        if (run !== this.#runs) return; // another reset came meanwhile
        this.#accept(state);
        return;
      } catch (error) {
        if (run !== this.#runs) return;
        this.#fault = `The state could not be fetched: ${error.message}`;
        this.#show();
        await new Promise((resume) => setTimeout(resume, Math.min(LONGEST_PAUSE_MS, 1_000 * 2 ** failures)));
      }
    }
  }

  #accept(state) {
    this.#floor = state?.headers?.get?.("Carillon-Cursor") ?? state?.cursor ?? this.#floor;
    this.#versions.note(state);
    for (const event of this.#held) this.#bring(event);
    this.#held = null;
    this.#fault = "";
    this.#show();
  }

  async #fetchState(url, show) {
    const signal = AbortSignal.timeout(LONGEST_PAUSE_MS);
    const response = await fetch(url, { signal, cache: "no-store", headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(response.status);
    const state = await response.json();
    await show?.(state);
    return { state, cursor: state?.cursor, headers: response.headers };
  }
}

/** The URLs of the streams and of the history, with the parameters that all of them share. */
class Address {
  #url;

  constructor(url, user) {
    this.#url = absolute(url);
    const query = this.#url.searchParams;
    if (user) query.set("user", user);
    this.user = query.get("user");
    this.topics = query.getAll("topic");
    this.since = query.get("since") ?? query.get("last_event_id") ?? undefined;
    ["topic", "since", "last_event_id", "envelope"].forEach((name) => query.delete(name));
    this.origin = this.#url.origin;
    this.group = `carillon 1 ${this.#url}`; // tabs with another form of messages are others
  }

  events(topics, start) {
    return this.#with(this.#url, topics, start, { envelope: 1 });
  }

  history(topics, start, limit) {
    return this.#with(new URL("history.json", this.#url), topics, start, { limit });
  }

  #with(base, topics, { cursor, since }, more) {
    const url = new URL(base);
    url.search = this.#url.search;
    for (const topic of topics) url.searchParams.append("topic", topic);
    for (const [name, value] of Object.entries(more)) url.searchParams.set(name, value);
    if (cursor || since) url.searchParams.set("since", cursor || since);
    return url.href;
  }
}

/** `since` is a cursor, or another beginning. An empty one means that the page got no cursor. */
function startOf(since) {
  const isCursor = since && !isNaN(compare(since, since));
  return isCursor ? { cursor: since } : { since: since === "" ? "none" : since };
}

function checked(topic) {
  const isTopic =
    /^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$/.test(topic) &&
    !topic.split(".").includes("*") &&
    new Blob([topic]).size <= LONGEST_TOPIC_BYTES;
  if (!isTopic) throw new TypeError(`This is not a topic: ${topic}`);
  return topic;
}

/** `orders.*` covers `orders.42` and what is below; `*` alone covers every topic. */
function patternOf(pattern) {
  const body = pattern
    .replace(/\.$/, "")
    .split(".")
    .map((segment) => (segment === "*" ? "[^.]*" : segment.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")))
    .join("\\.");
  return new RegExp(`^${body}${pattern.endsWith(".") ? "\\..*" : "(\\..*)?"}$`, "s");
}
