// The notifications of a person, as far as a page holds them: what the server said, and on top of it
// what the person did that the server has not confirmed yet.

const LISTED = ["unseen", "seen", "read"];
const UNREAD = ["unseen", "seen"];
const ORDER = [...LISTED, "archived"];
const BECOMES = { seen: "seen", read: "read", archive: "archived" };

export const isUnread = ({ state }) => UNREAD.includes(state);

export class Rows {
  next = null; // the URL of the page after the rows that are loaded
  #rows = new Map(); // by id; what has left the list too, so that an older answer brings none back
  #counts = { unseen: 0, unread: 0 };
  #acts = new Set(); // on their way to the server
  #events = 0;
  #snapshots = 0;

  /** The rows of the list, newest first, with what the person did. */
  get list() {
    const rows = this.#withActs().filter(({ html, state }) => html !== undefined && LISTED.includes(state));
    return rows.sort((a, b) => b.number - a.number);
  }

  /** `{unseen, unread}`, with what the person did. */
  get counts() {
    const counts = { ...this.#counts };
    const rows = this.#withActs();
    for (const row of rows) {
      const before = this.#rows.get(row.id);
      if (before.state === "unseen" && row.state !== "unseen") counts.unseen -= 1;
      if (isUnread(before) && !isUnread(row)) counts.unread -= 1;
    }
    // "Up to here" is about the rows that are not loaded, too: all of them are older.
    for (const { action, upTo } of this.#acts) {
      if (!upTo) continue;
      counts.unseen = rows.filter(({ state }) => state === "unseen").length;
      if (action === "read") counts.unread = rows.filter(isUnread).length;
    }
    return { unseen: Math.max(0, counts.unseen), unread: Math.max(0, counts.unread) };
  }

  /** The number up to which the person has seen the list; 0 for none. */
  get highest() {
    return this.list[0]?.number ?? 0;
  }

  /** Takes a snapshot in the place of all that was known. */
  replace({ notifications, counts, next }) {
    this.#rows.clear();
    this.#snapshots += 1;
    this.#events += 1;
    this.#counts = counts;
    this.next = next;
    notifications.forEach((row) => this.#merge(row));
  }

  /** With what the person did; undefined for what is not loaded. */
  stateOf(id) {
    return this.#withActs().find((row) => row.id === id)?.state;
  }

  /** Fetches the next page by `load(url)`, unless a snapshot comes meanwhile. */
  async more(load) {
    const before = this.#snapshots;
    const { notifications, next } = await load(this.next);
    if (before !== this.#snapshots) return;
    this.next = next;
    notifications.forEach((row) => this.#merge(row));
  }

  /** Takes an event. Returns the rows that are news, and the ids whose content has to be fetched. */
  take({ notifications, counts = this.#counts }) {
    this.#events += 1;
    this.#counts = counts;
    const lowest = this.next ? Math.min(...this.list.map(({ number }) => number)) : 0;
    const [news, missing] = [[], []];
    for (const entry of notifications) {
      const known = this.#rows.get(entry.id);
      const row = this.#merge(entry);
      if (row.number < lowest || !LISTED.includes(row.state)) continue;
      if (row.html === undefined) missing.push(row.id);
      else if (row.state === "unseen" && !(known?.html !== undefined && known.number >= row.number)) news.push(row);
    }
    return { news, missing };
  }

  /** The person does this to these ids, or to all up to a number: `{ids}` or `{up_to}`. */
  begin(action, { ids, up_to: upTo }) {
    const covered = [...this.#rows.values()].filter(({ id, number }) => (ids ? ids.includes(id) : number <= upTo));
    const versions = new Map(covered.map(({ id, version }) => [id, version]));
    const act = { action, upTo, versions, events: this.#events };
    this.#acts.add(act);
    return act;
  }

  /** The server has done it, and counts so many; or, without counts, it has not. */
  end(act, counts) {
    this.#acts.delete(act);
    if (!counts) return;
    // A later event has later counts; the event of the act itself may come before its answer.
    if (act.events === this.#events) this.#counts = counts;
    // So may an event of what came after the act: then the version is another.
    for (const row of this.#rows.values()) {
      if (act.versions.get(row.id) === row.version) this.#rows.set(row.id, { ...row, state: after(act, row) });
    }
  }

  #withActs() {
    const rows = [...this.#rows.values()];
    if (!this.#acts.size) return rows;
    return rows.map((row) => [...this.#acts].reduce((now, act) => ({ ...now, state: after(act, now) }), row));
  }

  /** The higher version wins, and keeps the content that only the other one has. */
  #merge(entry) {
    const known = this.#rows.get(entry.id);
    const [older, newer] = known?.version > entry.version ? [entry, known] : [known, entry];
    const number = Math.max(known?.number ?? 0, entry.number ?? 0);
    const row = { ...older, ...newer, number };
    this.#rows.set(entry.id, row);
    return row;
  }
}

const covers = ({ upTo, versions }, { id, version, number }) => versions.get(id) === version || number <= upTo;

function after(act, row) {
  const state = BECOMES[act.action];
  const isForward = ORDER.includes(row.state) && ORDER.indexOf(row.state) < ORDER.indexOf(state);
  return isForward && covers(act, row) ? state : row.state;
}
