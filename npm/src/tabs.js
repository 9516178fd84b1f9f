// One connection for all tabs of an origin: one tab leads, and passes on to the others what it gets.
//
// Who holds the lock leads. Each tab keeps a cursor of its own, up to which it has everything of its
// topics, and takes only what is after it: so that nothing comes twice or out of order, wherever a
// leader begins. What lies between that cursor and the leader's is fetched by a request of its own.

import { Connection } from "./connection.js";
import { compare } from "./cursors.js";

const ANSWERS_MS = 100; // how long a new leader waits for the other tabs
const CHANGE_MS = 50; // changes of topics that come together make one new connection
const BEAT_MS = 1_000;
const QUIET_MS = 2_000; // after so long without a message, the leader is asked
const LOST_MS = 3_000; // a leader that does not answer for so long is deposed
const MAX_TOPICS = 100;
const MAX_URL = 7_500;

export const canShare = () => self.navigator?.locks && self.BroadcastChannel;

/** The connection of one tab alone. `start` has the `cursor`, or a `since` for the first time. */
export class OwnConnection extends Connection {
  #timer = 0;

  constructor(address, topics, start, { onBlock, ...options }) {
    const take = (block) => {
      start.cursor = block.id || start.cursor;
      onBlock(block);
    };
    super(() => address.events(this.topics(), start), { ...options, onBlock: take });
    this.topics = () => topics;
  }

  close() {
    clearTimeout(this.#timer);
    super.close();
  }

  /** The topics have changed: the stream goes on from the same position with the new ones. */
  change() {
    this.close(); // at once, so that the cursor stays where it is
    this.#timer = setTimeout(() => this.open(), CHANGE_MS);
  }
}

export class SharedConnection {
  #address;
  #topics;
  #start;
  #options;
  #id = Math.random().toString(36).slice(2);
  #channel = null;
  #own = null; // the connection, while this tab leads or shares with nobody
  #isLeader = false;
  #release = null;
  #request = null;
  #term = 0; // messages of an earlier leader are of a lower term
  #peers = new Map();
  // of the leader's stream
  #status = ["connecting", ""];
  #cursor = "";
  #denied = null;
  #served = []; // the topics of the leader's stream
  #isCurrent = false; // this tab has everything up to its cursor, and what comes next follows it
  #catchingUp = null;
  #waiting = [];
  #heard = 0;
  #asked = 0;
  #beat = 0;

  constructor(address, topics, start, options) {
    this.#address = address;
    this.#topics = topics;
    this.#start = start;
    this.#options = options;
  }

  open() {
    if (this.#channel) return;
    this.#heard = Date.now();
    this.#channel = new BroadcastChannel(this.#address.group);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#beat = setInterval(() => this.#checkLeader(), BEAT_MS);
    this.#queue();
    this.#join();
  }

  close() {
    if (this.#channel) this.#post({ kind: "leave" });
    this.#channel?.close();
    this.#channel = null;
    clearInterval(this.#beat);
    this.#request?.abort();
    this.#stepDown();
  }

  wake() {
    this.#own?.wake();
    if (this.#channel) this.#checkLeader();
  }

  change() {
    this.#isCurrent = this.#isLeader || this.#isServed();
    if (!this.#channel) return this.#own?.change();
    this.#join();
    if (this.#isLeader && !this.#isServed()) this.#own?.change();
  }

  // Who leads

  #queue(steal = false) {
    this.#request?.abort();
    const request = (this.#request = steal ? null : new AbortController());
    const options = steal ? { steal } : { signal: request.signal };
    const hold = () =>
      this.#channel &&
      new Promise((release) => {
        this.#stepDown(); // what this tab was fetching comes by its own stream now
        this.#release = release;
        this.#lead();
      });
    navigator.locks.request(this.#address.group, options, hold).catch(({ name }) => {
      // Another tab has taken the lock, unless it is this one that gave up waiting.
      if (this.#request !== request || request?.signal.aborted || !this.#channel) return;
      if (name !== "AbortError") return void this.#goAlone(); // locks are denied where cookies are
      this.#stepDown();
      this.#queue();
      this.#join();
    });
  }

  #lead() {
    this.#isLeader = true;
    this.#term = Math.max(this.#term + 1, Date.now());
    this.#peers.clear();
    this.#post({ kind: "who" });
    setTimeout(() => this.#isLeader && !this.#own && this.#connect(), ANSWERS_MS);
  }

  #stepDown() {
    this.#isLeader = this.#isCurrent = false;
    this.#own?.close();
    this.#own = null;
    this.#release?.();
    this.#release = null;
    this.#catchingUp?.abort();
    this.#catchingUp = null;
    this.#waiting = [];
  }

  #checkLeader() {
    if (this.#isLeader || this.#own) return;
    const now = Date.now();
    // An answer counts whenever it came: in a hidden tab, this runs once a minute.
    if (this.#heard < this.#asked) {
      if (now - this.#asked < LOST_MS + 1_000 * Math.random()) return;
      this.#heard = now;
      this.#queue(true);
    } else if (now - this.#heard > QUIET_MS) {
      this.#asked = now;
      this.#post({ kind: "ping" });
    }
    if (!this.#isCurrent && !this.#catchingUp) this.#join();
  }

  // The leader's connection

  #connect() {
    // From the cursor of the tab that is behind all others.
    const start = { ...this.#start };
    for (const { cursor } of this.#peers.values()) {
      if (!start.cursor && !start.since) start.cursor = cursor;
      if (compare(cursor, start.cursor) < 0) start.cursor = cursor;
    }
    let isOpening = true;
    const { onState } = this.#options;
    this.#own = new OwnConnection(this.#address, this.#topics, start, {
      ...this.#options,
      onBlock: (block) => {
        if (isOpening && !this.#isOurs(block)) return this.#part();
        if (isOpening) this.#opened(block);
        isOpening = false;
        this.#pass(block, start.before);
        start.before = block.id;
      },
      onState: (name, why) => {
        if (name !== "live") isOpening = true;
        this.#status = [name, why];
        this.#report();
        onState(name, why);
      },
    });
    this.#own.topics = () => {
      isOpening = true;
      return (this.#served = this.#union());
    };
    this.#own.open();
  }

  /** Whether the server says that the stream is of the user for whom this page was made. */
  #isOurs({ type, data }) {
    return type === "stream.closing" || JSON.parse(data).user === this.#address.user;
  }

  #part() {
    this.#post({ kind: "part" });
    this.#goAlone();
  }

  #goAlone() {
    this.close();
    this.#own = new OwnConnection(this.#address, this.#topics, this.#start, this.#options);
    this.#own.open();
  }

  #opened({ type, id }) {
    if (type === "stream.closing") return;
    this.#isCurrent = true;
    this.#cursor = id;
    this.#denied = null;
    this.#post({ kind: "opened", topics: this.#served, cursor: id });
  }

  #pass(block, before) {
    this.#cursor = block.id || this.#cursor;
    if (block.type === "stream.denied") this.#denied = block;
    this.#post({ kind: "block", block, before });
    this.#take(block);
  }

  #union() {
    const all = new Set(this.#topics);
    for (const { topics } of this.#peers.values()) topics.forEach(all.add, all);
    return [...all];
  }

  // What the tabs tell each other

  #post(message) {
    this.#channel?.postMessage({ ...message, from: this.#id, term: this.#term });
  }

  #join() {
    if (this.#isLeader) return;
    const cursor = this.#isCurrent ? this.#start.cursor : "";
    this.#post({ kind: "join", topics: [...this.#topics], cursor });
  }

  #hear(message) {
    const { kind, from, term, to } = message;
    if (to && to !== this.#id) return;
    if (kind === "join") return this.#isLeader && this.#welcome(message);
    if (kind === "leave") return void this.#peers.delete(from);
    if (kind === "ping") return this.#isLeader && this.#report(from);
    if (term < this.#term || (this.#isLeader && term === this.#term)) return;
    if (term > this.#term && this.#isLeader) return; // the lock says so at once
    this.#term = term;
    this.#heard = Date.now();
    if (kind === "who") this.#join();
    else if (kind === "opened") this.#follow(message);
    else if (kind === "block") this.#receive(message);
    else if (kind === "state") this.#options.onState(...message.status);
    else if (kind === "part") this.#goAlone();
  }

  #welcome({ from, topics, cursor }) {
    const isNew = !this.#peers.has(from);
    this.#peers.set(from, { topics, cursor });
    const union = this.#union();
    if (union.length > MAX_TOPICS || this.#address.events(union, this.#start).length > MAX_URL) {
      this.#peers.delete(from);
      return this.#post({ kind: "part", to: from });
    }
    if (!this.#own) return; // it will connect in a moment
    const isServed = this.#isServed(topics);
    const [name] = this.#status;
    if (isServed && this.#isCurrent && name === "live") {
      this.#post({ kind: "opened", topics: this.#served, cursor: this.#cursor, denied: this.#denied, to: from });
    } else if (!isServed || (isNew && name === "refused")) this.#own.change();
    this.#report(from);
  }

  #report(to) {
    this.#post({ kind: "state", status: this.#status, to });
  }

  #isServed(topics = [...this.#topics]) {
    return topics.every((topic) => this.#served.includes(topic));
  }

  // A tab that does not lead

  #follow({ topics, cursor, denied }) {
    this.#served = topics;
    this.#isCurrent &&= this.#isServed();
    if (!this.#isServed()) return this.#join();
    const { cursor: own, since } = this.#start;
    if (compare(own, cursor) >= 0 || (!own && !since)) this.#arrive(cursor);
    else if (!this.#catchingUp) this.#catchUp(cursor);
    if (denied) this.#take(denied);
    return undefined;
  }

  /** Everything up to here has been taken. */
  #arrive(cursor) {
    const { cursor: own } = this.#start;
    this.#isCurrent = true;
    this.#catchingUp = null;
    this.#take({ type: "stream.cursor", data: "{}", id: compare(own, cursor) > 0 ? own : cursor });
    this.#options.onState("live", "");
    for (const message of this.#waiting.splice(0)) this.#receive(message);
  }

  #receive(message) {
    if (this.#catchingUp) return void this.#waiting.push(message);
    if (!this.#isCurrent) return undefined;
    const { block, before } = message;
    const behind = before && block.type !== "stream.reset" && !(compare(this.#start.cursor, before) >= 0);
    if (!behind) return this.#take(block);
    this.#isCurrent = false;
    this.#waiting.push(message);
    return this.#catchUp(before);
  }

  #take(block) {
    const { cursor } = this.#start;
    const { type, id, data } = block;
    if (type === "message" && compare(id, cursor) <= 0) return;
    this.#start.cursor = compare(id, cursor) < 0 ? cursor : id || cursor;
    if (type === "message" && !JSON.parse(data).topics.some((topic) => this.#topics.has(topic))) return;
    if (type === "stream.denied") block = this.#deniedHere(block);
    if (block) this.#options.onBlock(block);
  }

  #deniedHere(block) {
    const denied = JSON.parse(block.data);
    const topics = denied.topics.filter((topic) => this.#topics.has(topic));
    return topics.length ? { ...block, data: JSON.stringify({ ...denied, topics }) } : null;
  }

  /** Fetches what is between this tab's cursor and that of the leader. */
  async #catchUp(until) {
    const request = (this.#catchingUp = new AbortController());
    let url = this.#address.history([...this.#topics], this.#start, 1_000);
    for (let failures = 0; url; ) {
      const answer = await this.#fetchPage(url, request.signal);
      if (this.#catchingUp !== request) return;
      if (answer.isFinal) return this.#goAlone(); // its own stream gets the reason
      if (!answer.events) {
        await new Promise((resume) => setTimeout(resume, Math.min(30_000, 1_000 * 2 ** failures++)));
        continue;
      }
      if (this.#takePage(answer.events, until)) break;
      url = answer.next && new URL(answer.next, this.#address.origin).href;
    }
    if (this.#catchingUp === request) this.#arrive(until);
  }

  async #fetchPage(url, signal) {
    try {
      const response = await fetch(url, { signal, cache: "no-store", credentials: this.#options.credentials });
      if (response.ok) return await response.json();
      return { isFinal: response.status < 500 && response.status !== 429 };
    } catch {
      return {};
    }
  }

  /** Whether this was all. */
  #takePage(events, until) {
    for (const { cursor, ...envelope } of events) {
      if (envelope.type === "stream.reset") {
        this.#start.cursor = until;
        this.#take({ type: "stream.reset", data: JSON.stringify(envelope.data), id: until });
        return true;
      }
      if (compare(cursor, until) > 0) return true;
      if (envelope.time) this.#take({ type: "message", data: JSON.stringify(envelope), id: cursor });
    }
    return false;
  }
}
