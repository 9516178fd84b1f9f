// What a page of htmx, Turbo or Datastar needs so that its stream of HTML misses nothing, and shows
// nothing twice. `{% carillon_stream %}` writes the elements, and loads this script.
//
// - htmx 2 opens a new EventSource after an error of a proxy, from the URL in the page and without
//   the last id: so the cursor in that URL follows the stream. Turbo never does: so its element is
//   connected again, from the same URL.
// - htmx 4 gives up if the first request fails: so it begins when this script is there to see that.
//   Datastar asks for ever, even where it is refused.
// - After a reset, the page fetches its state again.

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const RELOAD_PAUSE_MS = 10_000; // a page that is reset whenever it loads may not load all the time
const LAST_RELOAD = "carillon.reload";
const TEMPORARY = new Set([408, 425, 429]); // the 4xx that may be different at the next attempt
const SIGNALS = ["stream.cursor", "stream.reset"];

const followed = new WeakSet();
const failures = new WeakMap();

function isOurs(element) {
  return element instanceof Element && element.parentElement?.localName === "carillon-stream";
}

/** The pause before the next attempt of this element: longer after each failure, and never even. */
function pauseOf(element) {
  const count = failures.get(element) ?? 0;
  failures.set(element, count + 1);
  return Math.min(FIRST_PAUSE_MS * 2 ** count, LONGEST_PAUSE_MS) * (0.5 + Math.random());
}

/** Has the URL in the attribute of an element follow the cursor of its EventSource. */
function follow(source, element, attribute) {
  if (followed.has(source)) return;
  followed.add(source);
  const keep = ({ lastEventId }) => {
    if (!lastEventId) return;
    failures.delete(element);
    const url = new URL(element.getAttribute(attribute), document.baseURI);
    url.searchParams.delete("since");
    url.searchParams.set("last_event_id", lastEventId);
    element.setAttribute(attribute, url.href);
  };
  for (const type of ["message", ...SIGNALS]) source.addEventListener(type, keep);
}

// htmx 2

document.addEventListener("htmx:sseOpen", ({ target, detail }) => {
  if (isOurs(target)) follow(detail.source, target, "sse-connect");
});

// htmx 4

const HTMX_4 = "carillon-stream > [hx-sse\\:connect]";
const begun = new WeakSet();

function connect(element) {
  element.dispatchEvent(new CustomEvent("carillon:connect"));
}

/** Connects the elements that htmx has seen, each once. */
function begin() {
  for (const element of document.querySelectorAll(`${HTMX_4}[data-htmx-powered]`)) {
    if (!begun.has(element)) connect(element);
    begun.add(element);
  }
}

function tryAgain({ target, detail }) {
  if (!(target instanceof Element) || !target.matches(HTMX_4)) return;
  const status = detail?.ctx?.response?.status ?? 0;
  if (status >= 400 && status < 500 && !TEMPORARY.has(status)) return;
  setTimeout(connect, pauseOf(target), target);
}

begin();
// After what the extensions of htmx do then.
document.addEventListener("htmx:after:process", () => setTimeout(begin));

document.addEventListener("htmx:error", tryAgain);
document.addEventListener("htmx:response:error", tryAgain);

// Turbo

/** Connects a `<turbo-stream-source>` again where its EventSource has given up. */
function revive(element) {
  const source = element.streamSource;
  if (!source) return;
  follow(source, element, "src");
  const replace = () => {
    if (source.readyState !== EventSource.CLOSED || !element.isConnected) return;
    setTimeout(() => {
      const parent = element.parentElement;
      if (!element.isConnected || element.streamSource !== source) return;
      element.remove(); // it connects when it is put into a page
      parent.prepend(element);
      revive(element);
    }, pauseOf(element));
  };
  source.addEventListener("error", replace);
  replace(); // it may have given up before this script was there
}

// Datastar

document.addEventListener("datastar-fetch", ({ detail: { type, el, argsRaw } }) => {
  const status = Number(argsRaw?.status ?? 0);
  if (type === "error" && isOurs(el) && status < 500 && !TEMPORARY.has(status)) el.remove();
});

// All of them

customElements.define(
  "carillon-stream",
  class extends HTMLElement {
    connectedCallback() {
      const element = this.querySelector("turbo-stream-source");
      if (element) customElements.whenDefined("turbo-stream-source").then(() => revive(element));
    }
  },
);

/** Comes into the page with a reset: `carillon:reset` goes to the page, or else the page reloads. */
customElements.define(
  "carillon-reset",
  class extends HTMLElement {
    connectedCallback() {
      const detail = { reason: this.getAttribute("reason") };
      const event = new CustomEvent("carillon:reset", { bubbles: true, cancelable: true, detail });
      if (this.dispatchEvent(event)) reload();
      setTimeout(() => this.remove()); // not while the library is still at work on it
    }
  },
);

let reloading = false;

function reload() {
  if (reloading) return;
  reloading = true;
  const ago = Date.now() - Number(sessionStorage.getItem(LAST_RELOAD) ?? 0);
  setTimeout(
    () => {
      reloading = false;
      sessionStorage.setItem(LAST_RELOAD, Date.now());
      if (globalThis.Turbo?.session.drive) Turbo.visit(location.href, { action: "replace" });
      else location.reload();
    },
    ago >= 0 && ago < RELOAD_PAUSE_MS ? RELOAD_PAUSE_MS - ago : 0,
  );
}
