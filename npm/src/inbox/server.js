// What the bell asks of the server: pages of notifications, and what the person does with them.

import { problemDetail } from "../words.js";

const DEADLINE_MS = 30_000;
const MOST_IDS = 50;

export class Server {
  #element;
  #language;
  #spoken = new Set(); // the languages of the server's answers to this page

  /** The attributes of the element say where, and how a request shows that it comes from this page. */
  constructor(element, language) {
    this.#element = element;
    this.#language = language;
    this.#spoken.add(language);
  }

  /** Whether a text in this language is in the language of the page, as `en-us` is for `en`. */
  speaks(language) {
    if (!language) return true;
    const isPart = (a, b) => `${a}-`.toLowerCase().startsWith(`${b}-`.toLowerCase());
    return [...this.#spoken].some((spoken) => isPart(spoken, language) || isPart(language, spoken));
  }

  get(address) {
    return this.#ask(address, {});
  }

  /** These notifications, with their content. */
  async entries(ids) {
    const entries = [];
    for (let from = 0; from < ids.length; from += MOST_IDS) {
      const some = ids.slice(from, from + MOST_IDS);
      const query = new URLSearchParams([...some.map((id) => ["id", id]), ["limit", some.length]]);
      entries.push(...(await this.get(`?${query}`)).notifications);
    }
    for (const { language } of entries) if (language) this.#spoken.add(language);
    return entries;
  }

  post(action, target) {
    const [header, token] = this.#proof();
    return this.#ask(action, {
      method: "POST",
      keepalive: true, // the page may be leaving by the click that this is about
      headers: { "Content-Type": "application/json", ...(token && { [header]: token }) },
      body: JSON.stringify(target),
    });
  }

  /** The cookie first: after a log-in in another tab, the token of this page is an old one. */
  #proof() {
    const attribute = (name) => this.#element.getAttribute(`csrf-${name}`);
    const cookies = document.cookie.split("; ").map((cookie) => cookie.split("="));
    const cookie = cookies.find(([name]) => name === attribute("cookie"))?.[1];
    return [attribute("header") || "X-CSRFToken", cookie || attribute("token")];
  }

  async #ask(address, { headers, ...options }) {
    const url = new URL(address, new URL(this.#element.getAttribute("inbox"), document.baseURI));
    const response = await fetch(url, {
      cache: "no-store",
      signal: AbortSignal.timeout(DEADLINE_MS),
      headers: { Accept: "application/json", "Accept-Language": this.#language, ...headers },
      ...options,
    });
    if (!response.ok) throw new Error(await problemDetail(response));
    return response.json();
  }
}
