// Downloads the history of the topics as a file, with a progress bar.

import { problemDetail } from "./carillon.js";

const ANNOUNCEMENT_PAUSE_MS = 1_000; // a live region is read aloud at each change

export class Download {
  #box;
  #links;
  #bar;
  #state;
  #cancel;
  #aborter = null;

  constructor(box) {
    this.#box = box;
    this.#links = box.querySelectorAll("a[download]");
    this.#bar = box.querySelector("progress");
    this.#state = box.querySelector("[role=status]");
    this.#cancel = box.querySelector("button");
    this.#cancel.addEventListener("click", () => this.#aborter?.abort());
    for (const link of this.#links) {
      link.addEventListener("click", (click) => {
        if (click.ctrlKey || click.metaKey || click.shiftKey) return; // the browser opens or saves the link itself
        click.preventDefault();
        if (!this.#aborter) this.#fetch(link);
      });
    }
  }

  /** Offers the history of the topics in this query. */
  offer(query) {
    this.#box.hidden = query.size === 0;
    for (const link of this.#links) link.href = `${link.dataset.url}?${query}&since=all`;
  }

  async #fetch(link) {
    this.#aborter = new AbortController();
    this.#show(true, "Asking…");
    try {
      const response = await fetch(link.href, { signal: this.#aborter.signal });
      if (!response.ok) return this.#show(false, await problemDetail(response));
      const pieces = await this.#read(response);
      const name = fileName(response.headers.get("Content-Disposition"), link.textContent);
      save(new Blob(pieces, { type: response.headers.get("Content-Type") }), name);
      return this.#show(false, `Downloaded ${name}.`);
    } catch {
      const cancelled = this.#aborter.signal.aborted;
      return this.#show(false, cancelled ? "Cancelled." : "The download broke off, and nothing was saved.");
    } finally {
      this.#aborter = null;
    }
  }

  async #read(response) {
    const expected = Number(response.headers.get("Carillon-Rows"));
    const pieces = [];
    let lines = 0;
    let shownAt = 0;
    if (expected) this.#bar.max = expected;
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return pieces;
      pieces.push(value);
      for (const byte of value) if (byte === 10) lines += 1;
      const rows = Math.min(lines, expected || lines);
      this.#bar.value = rows;
      if (performance.now() - shownAt > ANNOUNCEMENT_PAUSE_MS) {
        shownAt = performance.now();
        this.#state.textContent = `${rows.toLocaleString()} of about ${expected.toLocaleString()} events`;
      }
    }
  }

  #show(busy, text) {
    this.#bar.hidden = this.#cancel.hidden = !busy;
    if (busy) this.#bar.removeAttribute("value");
    this.#state.textContent = text;
  }
}

function fileName(disposition, format) {
  const encoded = /filename\*=utf-8''([^;]+)/i.exec(disposition ?? "");
  const plain = /filename="([^"]+)"/.exec(disposition ?? "");
  return encoded ? decodeURIComponent(encoded[1]) : (plain?.[1] ?? `history.${format.toLowerCase()}`);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
