// What arrives while the person looks at the page and the list is closed: at most three at once.

import { element, icon } from "./dom.js";

const MOST = 3;
const SHOWN_MS = 8_000;

export class Toasts {
  #box;
  #texts;
  #shown = new Map(); // elements, by the id of their notification

  /** `box` is a popover, so that nothing of the page covers it. */
  constructor(box, texts) {
    this.#box = box;
    this.#texts = texts;
  }

  /** `link` is what the list has for this notification. */
  show({ id, priority }, link) {
    this.remove(id);
    if (this.#shown.size >= MOST) this.remove(this.#leastOf([...this.#shown]));
    let timer = 0;
    const rest = () => clearTimeout(timer);
    const wait = () => {
      rest();
      if (priority !== "high") timer = setTimeout(() => this.remove(id), SHOWN_MS);
    };
    const close = { part: "icon-button dismiss", type: "button", "aria-label": this.#texts.get("dismiss") };
    const toast = element(
      "div",
      { part: "toast", onpointerenter: rest, onfocusin: rest, onpointerleave: wait, onfocusout: wait },
      link,
      element("button", { ...close, onclick: () => this.remove(id) }, icon("close")),
    );
    toast.priority = priority;
    this.#shown.set(id, toast);
    this.#box.append(toast);
    if (!this.#box.matches(":popover-open")) this.#box.showPopover();
    wait();
  }

  /** Removes this one, or all. */
  remove(...ids) {
    for (const id of ids.length ? ids : [...this.#shown.keys()]) {
      this.#shown.get(id)?.remove();
      this.#shown.delete(id);
    }
    if (!this.#shown.size && this.#box.matches(":popover-open")) this.#box.hidePopover();
  }

  /** The oldest, if there is one that may go before those of high priority. */
  #leastOf(shown) {
    return (shown.find(([, toast]) => toast.priority !== "high") ?? shown[0])[0];
  }

  /** Removes those that are no news any more. */
  keep(ids) {
    for (const id of this.#shown.keys()) if (!ids.has(id)) this.remove(id);
  }
}
