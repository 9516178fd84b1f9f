// The notifications as elements: those that stay keep their element, and with it the focus.

import { address, content, element, icon } from "./dom.js";
import { isUnread } from "./rows.js";

const partsOf = (row) => `item ${row.state}${isUnread(row) ? " unread" : ""}`;

export class List {
  #list;
  #texts;
  #acts;
  #items = new Map(); // by id

  /** `acts` has `follow(row, click)` and `archive(row)`. */
  constructor(list, texts, acts) {
    this.#list = list;
    this.#texts = texts;
    this.#acts = acts;
  }

  show(rows) {
    const ids = new Set(rows.map(({ id }) => id));
    for (const [id, { item }] of this.#items) {
      if (ids.has(id)) continue;
      this.#leave(item);
      this.#items.delete(id);
    }
    rows.forEach((row, place) => {
      const item = this.#itemOf(row);
      if (this.#list.children[place] !== item) this.#list.insertBefore(item, this.#list.children[place] ?? null);
    });
  }

  /** The times, as they are now. */
  showTimes() {
    for (const time of this.#list.querySelectorAll("time")) time.textContent = this.#ago(time.dateTime);
  }

  /** What a click follows, with the content of the notification. */
  link(row) {
    const href = address(row.url);
    const time = element("time", { part: "time", datetime: row.created, title: this.#texts.date(new Date(row.created)) });
    time.textContent = this.#ago(row.created);
    const text = element("span", { part: "text", lang: row.language || false });
    text.append(content(row.html));
    const act = (click) => click.button < 2 && this.#acts.follow(row, click);
    const attributes = { part: "link", onclick: act, onauxclick: act };
    return element(href ? "a" : "button", { ...attributes, ...(href ? { href } : { type: "button" }) }, text, time);
  }

  #ago(created) {
    return this.#texts.ago(new Date(created));
  }

  #itemOf(row) {
    const shown = this.#items.get(row.id);
    const content = JSON.stringify([row.html, row.url, row.created, isUnread(row)]);
    if (shown?.content === content) {
      // What was only seen keeps its elements, one of which may be clicked just now.
      shown.item.setAttribute("part", partsOf(row));
      return shown.item;
    }
    const item = this.#made(row);
    if (shown) {
      const focused = shown.item.getRootNode().activeElement;
      const part = shown.item.contains(focused) && focused.getAttribute("part");
      shown.item.replaceWith(item);
      if (part) item.querySelector(`[part="${part}"]`)?.focus();
    }
    this.#items.set(row.id, { item, content });
    return item;
  }

  #made(row) {
    const link = this.link(row);
    const isNews = isUnread(row);
    if (isNews) link.prepend(element("span", { class: "visually-hidden" }, `${this.#texts.get("unread")}: `));
    const label = `${this.#texts.get("archive")}: ${row.text}`;
    const archive = element(
      "button",
      { part: "icon-button archive", type: "button", "aria-label": label, onclick: () => this.#acts.archive(row) },
      icon("archive"),
    );
    archive.title = this.#texts.get("archive");
    return element("li", { part: partsOf(row) }, link, archive);
  }

  /** Removes an item. The focus goes on to the next one, or to the one before. */
  #leave(item) {
    const focused = item.getRootNode().activeElement;
    const other = item.nextElementSibling ?? item.previousElementSibling;
    if (item.contains(focused)) {
      const heir = other?.querySelector(`[part="${focused.getAttribute("part")}"]`);
      (heir ?? item.closest("[popover]")).focus();
    }
    item.remove();
  }
}
