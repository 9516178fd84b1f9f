// The history of topics as a file, with a bar while it comes.

import { problemDetail } from "./stream.js";

const PAUSE = 1_000; // between two words of a live region

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
        if (click.ctrlKey || click.metaKey || click.shiftKey) return; // the browser's own way
        click.preventDefault();
        if (!this.#aborter) this.#fetch(link);
      });
    }
  }

  /** The topics of the page, as a query. */
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
      return this.#show(false, cancelled ? "Cancelled." : "It broke off before its end, so that nothing was saved.");
    } finally {
      this.#aborter = null;
    }
  }

  async #read(response) {
    const about = Number(response.headers.get("Carillon-Rows"));
    const pieces = [];
    let lines = 0;
    let said = 0;
    if (about) this.#bar.max = about;
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) return pieces;
      pieces.push(value);
      for (const byte of value) if (byte === 10) lines += 1;
      const rows = Math.min(lines, about || lines);
      this.#bar.value = rows;
      if (performance.now() - said > PAUSE) {
        said = performance.now();
        this.#state.textContent = `${rows.toLocaleString()} of about ${about.toLocaleString()} events`;
      }
    }
  }

  #show(busy, text) {
    this.#bar.hidden = this.#cancel.hidden = !busy;
    if (busy) this.#bar.removeAttribute("value");
    this.#state.textContent = text;
  }
}

function fileName(disposition, form) {
  const encoded = /filename\*=utf-8''([^;]+)/i.exec(disposition ?? "");
  const plain = /filename="([^"]+)"/.exec(disposition ?? "");
  return encoded ? decodeURIComponent(encoded[1]) : (plain?.[1] ?? `history.${form.toLowerCase()}`);
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
