// `<carillon-bell>`: the inbox of a person, live in every tab. `{% carillon_bell %}` writes it.

import { carillon } from "./carillon.js";
import { List } from "./inbox/list.js";
import { Push } from "./inbox/push.js";
import { Rows } from "./inbox/rows.js";
import { Server } from "./inbox/server.js";
import { style } from "./inbox/style.js";
import { Texts } from "./inbox/texts.js";
import { countInTitle } from "./inbox/title.js";
import { Toasts } from "./inbox/toasts.js";
import { View } from "./inbox/view.js";

const PAGE_ROWS = 20;
const MOST_ROWS = 100;
const ANNOUNCED_MS = 1_000; // what arrives within this time is one sentence
const MOST_SHOWN = 99;

const sheet = new CSSStyleSheet();
sheet.replaceSync(style);

class CarillonBell extends HTMLElement {
  #rows = new Rows();
  #texts;
  #server;
  #view;
  #list;
  #toasts;
  #push;
  #live = null;
  #cursor;
  #isLoaded = false;
  #wanted = new Map(); // what is fetched by its id, and what there is of it in another language
  #isFetching = false;
  #isDue = false;
  #arrived = 0;
  #timers = {};
  #stop = null;

  /** `{unseen, unread}`, as the badge and the list show it. */
  get counts() {
    return this.#rows.counts;
  }

  /** The notifications of the list that are loaded, newest first. */
  get notifications() {
    return this.#rows.list;
  }

  connectedCallback() {
    if (document.readyState !== "loading") return this.#start();
    return document.addEventListener("DOMContentLoaded", () => this.isConnected && this.#start(), { once: true });
  }

  disconnectedCallback() {
    this.#cursor = this.#live?.cursor;
    this.#live?.close();
    this.#live = null;
    this.#stop?.abort();
    Object.values(this.#timers).forEach(clearTimeout);
    if (!this.hasAttribute("no-title")) countInTitle("");
  }

  #start() {
    if (this.#live) return;
    if (!this.#view) this.#build();
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    document.addEventListener("visibilitychange", () => this.#see(), { signal });
    this.#timers.minute = setInterval(() => this.#list.showTimes(), 60_000);
    this.#live = carillon(this.getAttribute("events"), { since: this.#cursor });
    this.#live.snapshot(() => this.#fetch(), { first: !this.#isLoaded });
    this.#live.on("inbox.changed", ({ data }) => this.#take(data));
    this.#live.on("stream.status", ({ data }) => this.#view.stopped(data.status === "refused"));
    this.#push.start().catch(() => {}); // the next page tries again
    this.#render();
  }

  #build() {
    const lang = this.closest("[lang]")?.lang || navigator.language;
    this.#texts = new Texts(lang, JSON.parse(this.getAttribute("texts") || "{}"));
    this.#server = new Server(this, lang);
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    this.#view = new View(root, this.#texts, {
      page: this.querySelector("a")?.href,
      opened: () => this.#opened(),
      more: () => this.#more(),
      readAll: () => this.#do("read", { up_to: this.#rows.highest }),
      push: () => this.#switchPush(!this.#push.isOn),
    });
    this.#list = new List(this.#view.list, this.#texts, {
      follow: (row, click) => this.#follow(row, click),
      archive: ({ id }) => this.#do("archive", { ids: [id] }),
    });
    this.#toasts = new Toasts(this.#view.toasts, this.#texts);
    this.#push = new Push({
      key: this.getAttribute("push-key"),
      subscribed: this.getAttribute("push-subscribed"),
      owner: new URL(this.getAttribute("events"), document.baseURI).searchParams.get("topic"),
      inbox: this.getAttribute("inbox"),
      server: this.#server,
      changed: () => this.#render(),
    });
    const state = this.querySelector("script[type='application/json']");
    if (state) this.#accept(JSON.parse(state.textContent));
  }

  #accept(state) {
    this.#rows.replace(state);
    this.#cursor = state.cursor;
    this.#isLoaded = true;
  }

  async #fetch() {
    const limit = Math.min(MOST_ROWS, Math.max(PAGE_ROWS, this.#rows.list.length));
    const state = await this.#server.get(`?limit=${limit}`);
    this.#accept(state);
    this.#render();
    this.#see();
    return state;
  }

  async #more() {
    await this.#attempt(() => this.#rows.more((url) => this.#server.get(url)), () => this.#more());
  }

  // What comes

  #take(data) {
    if (data.refresh) return this.#live.refresh();
    const isForeign = ({ html, language }) => html !== undefined && !this.#server.speaks(language);
    const foreign = data.notifications.filter(isForeign);
    const notifications = data.notifications.filter((entry) => !isForeign(entry));
    const { news, missing } = this.#rows.take({ notifications, counts: data.counts });
    this.#show(news);
    missing.forEach((id) => this.#wanted.set(id, null));
    foreign.forEach((entry) => this.#wanted.set(entry.id, entry));
    return this.#wanted.size && this.#fetchWanted();
  }

  /** One request after the other, so that what they bring keeps its order. */
  async #fetchWanted() {
    if (this.#isFetching) return;
    this.#isFetching = true;
    while (this.#wanted.size) {
      const wanted = [...this.#wanted];
      this.#wanted.clear();
      const foreign = wanted.map(([, entry]) => entry).filter(Boolean);
      const entries = await this.#server.entries(wanted.map(([id]) => id)).catch(() => foreign);
      this.#show(this.#rows.take({ notifications: entries }).news);
    }
    this.#isFetching = false;
  }

  #show(news) {
    const isVisible = document.visibilityState === "visible";
    for (const row of news.sort((a, b) => a.number - b.number)) {
      const isToast = isVisible && !this.#view.isOpen && row.priority !== "low" && !this.hasAttribute("no-toasts");
      if (isToast) this.#toasts.show(row, this.#list.link(row));
    }
    this.#announce(news.length);
    this.#render();
    this.#see();
  }

  /** A burst is one sentence, because a screen reader reads each of them to its end. */
  #announce(count) {
    this.#arrived += count;
    if (!this.#arrived || this.#timers.announce) return;
    this.#timers.announce = setTimeout(() => {
      this.#view.announce(this.#texts.get("arrived", this.#arrived));
      this.#arrived = this.#timers.announce = 0;
    }, ANNOUNCED_MS);
  }

  // What the person does

  #opened() {
    this.#toasts.remove();
    this.#draw(); // before the panel is painted
    this.#list.showTimes();
    this.#see();
  }

  /** What an open list shows in a visible tab has been seen. */
  #see() {
    const isSeen = this.#view.isOpen && document.visibilityState === "visible" && this.#rows.counts.unseen;
    if (isSeen && this.#rows.highest) this.#do("seen", { up_to: this.#rows.highest });
  }

  #follow(row, click) {
    this.#toasts.remove(row.id);
    if (row.state !== "read") this.#do("read", { ids: [row.id] });
    const options = { bubbles: true, cancelable: true, detail: row };
    if (!this.dispatchEvent(new CustomEvent("carillon-follow", options))) click.preventDefault();
    const isHere = click.type === "click" && !click.ctrlKey && !click.metaKey && !click.shiftKey;
    if (row.url && isHere) this.#view.close();
  }

  /** Shows what an act does at once, and takes it back if the server does not do it. */
  async #do(action, target) {
    const act = this.#rows.begin(action, target);
    const sent = this.#server.post(action, target).then(
      ({ counts }) => this.#rows.end(act, counts),
      (error) => {
        this.#rows.end(act);
        throw error;
      },
    );
    this.#render();
    await this.#attempt(() => sent, () => this.#do(action, target));
  }

  async #switchPush(isOn) {
    await this.#attempt(() => this.#push.switch(isOn), () => this.#switchPush(isOn));
  }

  async #attempt(run, again) {
    try {
      await run();
      this.#view.failed(null);
    } catch {
      this.#view.failed(again);
    }
    this.#render();
  }

  // What is shown

  /** Once for all changes of one turn. */
  #render() {
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  #draw() {
    const { list, counts, next } = this.#rows;
    const { unseen } = counts;
    const badge = unseen > MOST_SHOWN ? `${MOST_SHOWN}+` : unseen ? `${unseen}` : "";
    this.#view.count(badge, unseen, counts.unread);
    if (!this.hasAttribute("no-title") && this.isConnected) countInTitle(badge);
    this.#toasts.keep(new Set(list.filter(({ state }) => state === "unseen").map(({ id }) => id)));
    if (this.#view.isOpen) this.#list.show(list);
    this.#view.pushed(this.#push);
    this.#push.keep((id) => this.#rows.stateOf(id), unseen).catch(() => {}); // as at the next change
    this.#view.filled(list.length, next !== null, this.#isLoaded);
    this.dispatchEvent(new CustomEvent("carillon-counts", { bubbles: true, detail: counts }));
  }
}

if (!customElements.get("carillon-bell")) customElements.define("carillon-bell", CarillonBell);
