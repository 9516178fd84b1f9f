// The interface of the browser's EventSource, for libraries that take one.

import { Connection, absolute, watchTab } from "./connection.js";

/**
 * An `EventSource` that resumes by its cursor after any end and any status that is not about the
 * request itself: `htmx.createEventSource = (url) => new ResumingEventSource(url)`.
 */
export class ResumingEventSource extends EventTarget {
  readyState = 0;
  #connection;
  #unwatch;

  constructor(url, { withCredentials = false, silence } = {}) {
    super();
    const address = absolute(url);
    this.url = address.href;
    this.withCredentials = withCredentials;
    for (const type of ["open", "message", "error"]) {
      this[`on${type}`] = null;
      this.addEventListener(type, (event) => this[`on${type}`]?.(event));
    }
    this.#connection = new Connection(() => address.href, {
      silence,
      credentials: withCredentials ? "include" : "same-origin",
      onState: (name) => this.#become(name),
      onBlock: ({ type, data, id }) => {
        if (id) address.searchParams.set("last_event_id", id);
        this.dispatchEvent(new MessageEvent(type, { data, lastEventId: id, origin: address.origin }));
      },
    });
    this.#connection.open();
    this.#unwatch = watchTab(this.#connection);
  }

  close() {
    this.readyState = 2;
    this.#unwatch();
    this.#connection.close();
  }

  #become(name) {
    if (name === "connecting" || this.readyState === 2) return;
    this.readyState = { live: 1, reconnecting: 0, refused: 2 }[name];
    if (name === "refused") this.close();
    this.dispatchEvent(new Event(name === "live" ? "open" : "error"));
  }
}

for (const [value, name] of ["CONNECTING", "OPEN", "CLOSED"].entries()) {
  ResumingEventSource[name] = ResumingEventSource.prototype[name] = value;
}
