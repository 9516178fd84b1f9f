// Live updates of a page: one connection for all tabs, and no event missed or shown twice.

import { Live } from "./live.js";

export { ResumingEventSource } from "./event_source.js";
export { problemDetail } from "./words.js";

/** `carillon("/events/", {topics: ["orders.42"], since: cursor})`: the events of these topics. */
export const carillon = (url, options) => new Live(url, options);
