// The frame of the bell: the button with its badge, the panel that it opens, and what is said.

import { element, icon, write } from "./dom.js";

const GAP = 8;

export class View {
  isOpen = false;
  #bell;
  #badge = element("span", { part: "badge", "aria-hidden": "true" });
  #panel;
  #inside; // of the panel, while it is open: a closed one leaves no links in the page
  #readAll;
  #error;
  #retry;
  #scroll;
  #more;
  #empty;
  #push;
  #said = element("p", { class: "visually-hidden", role: "status" });
  #texts;
  #acts;
  #again = null; // what "try again" does
  #isBusy = false;
  #isStopped = false;
  #following = null; // what moves the panel with the bell

  /** `acts` has the address of the plain `page`, and what to do when `opened`, for `more`, to `readAll`, and to switch `push` messages. */
  constructor(root, texts, acts) {
    this.#texts = texts;
    this.#acts = acts;
    this.list = element("ul", { part: "list", role: "list" });
    this.toasts = element("div", { id: "toasts", popover: "manual", role: "group", "aria-label": texts.get("title") });
    this.#bell = element(
      "button",
      { id: "bell", part: "button", type: "button", "aria-haspopup": "dialog", "aria-expanded": "false" },
      icon("bell"),
      this.#badge,
    );
    this.#panel = this.#makePanel();
    this.#bell.popoverTargetElement = this.#panel;
    root.append(this.#bell, this.#panel, this.#said, this.toasts);
  }

  close() {
    this.#panel.hidePopover();
  }

  count(badge, unseen, unread) {
    write(this.#badge, badge);
    this.#badge.hidden = !badge;
    const title = this.#texts.get("title");
    this.#bell.setAttribute("aria-label", unseen ? `${title}, ${this.#texts.get("unseen", unseen)}` : title);
    this.#hide(this.#readAll, !unread);
  }

  filled(size, hasMore, isLoaded) {
    this.list.hidden = !size;
    this.#empty.hidden = Boolean(size) || hasMore;
    this.#empty.replaceChildren(...(isLoaded ? this.#nothing() : [this.#texts.get("loading")]));
    this.#hide(this.#more, !hasMore);
  }

  /** Something was not done, and is tried again by a button. With null, all is well. */
  failed(again) {
    this.#again = again;
    this.#showError();
  }

  /** Nothing comes any more, because the server refuses the stream. */
  stopped(isStopped) {
    this.#isStopped = isStopped;
    this.#showError();
  }

  pushed({ isOffered, isOn, isBlocked }) {
    this.#hide(this.#push, !isOffered);
    const text = isOn ? "pushOff" : isBlocked ? "pushBlocked" : "pushOn";
    write(this.#push, this.#texts.get(text));
  }

  announce(text) {
    this.#said.textContent = text;
  }

  #makePanel() {
    const texts = this.#texts;
    const button = (part, name, onclick) => element("button", { part, type: "button", onclick }, texts.get(name));
    this.#readAll = button("action read-all", "readAll", () => this.#acts.readAll());
    this.#error = element("span");
    this.#retry = button("action retry", "retry", () => this.#tryAgain());
    this.#more = button("more", "more", () => this.#loadMore());
    this.#push = button("action push", "pushOn", () => this.#acts.push());
    this.#empty = element("p", { part: "empty" });
    this.#scroll = element("div", { id: "scroll" }, this.list, this.#empty, this.#more);
    const title = element("h2", { id: "title", part: "title" }, texts.get("title"));
    const { page } = this.#acts;
    const seen = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && !this.#again && this.#loadMore(), {
      root: this.#scroll,
      rootMargin: "200px",
    });
    seen.observe(this.#more);
    this.#inside = [
      element("div", { part: "header" }, title, this.#readAll),
      element("div", { part: "error", role: "alert", hidden: "" }, this.#error, this.#retry),
      this.#scroll,
      element("div", { part: "footer" }, this.#push, ...(page ? [element("a", { part: "all", href: page }, texts.get("all"))] : [])),
    ];
    return element(
      "div",
      {
        id: "panel",
        part: "panel",
        popover: "auto",
        role: "dialog",
        "aria-labelledby": "title",
        tabindex: "-1",
        onbeforetoggle: (event) => this.#change(event.newState === "open"),
        ontoggle: () => (this.isOpen ? this.#panel.focus() : this.#panel.replaceChildren()),
        onkeydown: (event) => this.#move(event),
      },
    );
  }

  #nothing() {
    return [icon("bell"), element("strong", {}, this.#texts.get("empty")), this.#texts.get("emptyHint")];
  }

  #change(isOpen) {
    this.isOpen = isOpen;
    this.#bell.setAttribute("aria-expanded", String(isOpen));
    this.#following?.abort();
    if (isOpen) {
      this.#following = new AbortController();
      const options = { signal: this.#following.signal, passive: true };
      for (const type of ["resize", "scroll"]) addEventListener(type, () => this.#place(), options);
      this.#place();
      this.#panel.replaceChildren(...this.#inside);
      this.#acts.opened();
    } else if (this.#panel.contains(this.#panel.getRootNode().activeElement)) this.#bell.focus();
  }

  /** Beside the bell, on the side that has more room. */
  #place() {
    const { top, bottom, left, right } = this.#bell.getBoundingClientRect();
    const { clientWidth: width, clientHeight: height } = document.documentElement;
    const isLow = top > height - bottom;
    const isLeft = left + right < width;
    const px = (size) => `${Math.max(GAP, size)}px`;
    Object.assign(this.#panel.style, {
      top: isLow ? "auto" : px(bottom + GAP),
      bottom: isLow ? px(height - top + GAP) : "auto",
      left: isLeft ? px(left) : "auto",
      right: isLeft ? "auto" : px(width - right),
      maxHeight: `min(36rem, ${(isLow ? top : height - bottom) - 2 * GAP}px)`,
    });
  }

  /** The arrows go through the notifications. */
  #move(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    const links = [...this.list.querySelectorAll("[part=link]")];
    if (!(event.key in steps) || !links.length) return;
    event.preventDefault();
    const now = links.findIndex((link) => link.parentElement.contains(link.getRootNode().activeElement));
    links[Math.max(0, Math.min(links.length - 1, now + steps[event.key]))].focus();
  }

  async #loadMore() {
    if (this.#isBusy || this.#more.hidden) return;
    this.#isBusy = true;
    await this.#acts.more();
    this.#isBusy = false;
  }

  #tryAgain() {
    const again = this.#again ?? (() => location.reload());
    this.#panel.focus();
    this.failed(null);
    again();
  }

  #showError() {
    const text = this.#again ? "failed" : this.#isStopped ? "stopped" : "";
    write(this.#error, text && this.#texts.get(text));
    write(this.#retry, this.#texts.get(this.#again ? "retry" : "reload"));
    this.#error.parentElement.hidden = !text;
  }

  /** Hides what may have the focus, which goes to the panel. */
  #hide(button, isHidden) {
    if (isHidden && button.getRootNode().activeElement === button) this.#panel.focus();
    button.hidden = isHidden;
  }
}
