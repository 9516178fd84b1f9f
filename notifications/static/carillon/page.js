// The page: topics in its own URL, events as they come, and the form that publishes.

import { carillon } from "./carillon.js";
import { Download } from "./download.js";
import { EventList, copyOf } from "./events.js";
import { Jobs } from "./jobs.js";
import { preparePublishing } from "./publish.js";
import { Snippets } from "./snippets.js";

const RESET_SHOWN_MS = 5_000;
const FIRST_EVENTS = 50; // of those that are kept, a page that has just been opened shows so many
const LONGEST_TOPIC_BYTES = 255;
const LABELS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  reset: "Reset",
  refused: "Refused",
  closed: "Closed",
};

const byId = (id) => document.getElementById(id);
const app = byId("app");
const eventsUrl = new URL(app.dataset.eventsUrl, location.origin);
const publishUrl = new URL(app.dataset.publishUrl, location.origin);
const named = new URLSearchParams(location.search).getAll("topic");
const topics = new Set([...named, named.length ? "" : app.dataset.defaultTopic].filter(Boolean));
const query = () => new URLSearchParams([...topics].map((topic) => ["topic", topic]));

const jobs = new Jobs(byId("jobs"), byId("job-template"));
const download = new Download(byId("history"));
const snippets = new Snippets(eventsUrl, publishUrl, new URL(app.dataset.moduleUrl, location.origin));
const list = new EventList(byId("events"), { event: byId("event-template"), reset: byId("reset-template") });

// The connection

let shown = ["closed", ""];
let resetTimer = 0;
let denied = new Set();
let refusal = "";

let live = null;
let cursor = "";

function open() {
  live = carillon(app.dataset.liveUrl, {
    topics: [...topics],
    since: cursor || `last:${FIRST_EVENTS}`,
    silence: Number(app.dataset.keepalive) * 2_500 + 5_000,
  });
  live.on("stream.status", ({ data }) => showConnection(data.status, data.reason));
  live.on("stream.denied", ({ data }) => deny(data.topics));
  live.on("stream.reset", ({ data }) => showReset(data.reason));
  live.on("*", (event) => {
    if (!jobs.show(event)) list.add(event);
    showCount();
  });
  showConnection(live.status, live.reason);
}

function close() {
  if (!live) return;
  cursor = live.cursor;
  live.close();
  live = null;
}

function showConnection(name, detail) {
  if (name === "closed") return;
  if (name === "live") deny([]);
  refusal = name === "refused" ? `${detail} ${detail.endsWith("Reload it.") ? "" : wayOn()}`.trim() : "";
  shown = [name, refusal ? "No events come." : detail];
  showDenied();
  if (name !== "live") resetTimer = clearTimeout(resetTimer);
  if (!resetTimer) showState(...shown);
}

function deny(names) {
  denied = new Set(names);
  showDenied();
  showSnippets();
}

function showReset(reason) {
  list.addReset(reason);
  showCount();
  showState("reset", "The events in between are lost.");
  clearTimeout(resetTimer);
  resetTimer = setTimeout(() => {
    resetTimer = 0;
    showState(...shown);
  }, RESET_SHOWN_MS);
}

function showState(name, detail) {
  byId("status").dataset.state = name;
  announce(byId("state"), LABELS[name]);
  announce(byId("state-detail"), detail || (name === "live" ? listening() : ""));
  byId("toggle").hidden = topics.size === 0;
  byId("toggle").textContent = isClosed() ? "Connect" : "Disconnect";
}

/** Writes only a text that changed: a live region is read aloud each time its text is set. */
function announce(region, text) {
  if (region.textContent !== text) region.textContent = text;
}

const isClosed = () => ["closed", "refused"].includes(byId("status").dataset.state);

const wayOn = () => `Change the topics${byId("login") ? " or log in" : ""} to go on.`;

const listening = () => {
  const count = topics.size - denied.size;
  return `Listening on ${count === 1 ? "1 topic" : `${count} topics`}.`;
};

function connect() {
  close();
  if (topics.size) return open();
  return showClosed(`Add a topic${byId("login") ? ", or log in for your own" : ""}.`);
}

function showClosed(detail) {
  resetTimer = clearTimeout(resetTimer);
  showState("closed", detail);
}

byId("toggle").addEventListener("click", () => {
  if (isClosed()) return connect();
  close();
  return showClosed("The next connection continues from here.");
});

// The topics

byId("topic-form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const topic = byId("topic-input").value.trim();
  const error = errorOf(topic);
  announce(byId("topic-error"), error);
  if (error) return;
  byId("topic-input").value = "";
  if (!topic || topics.has(topic)) return;
  topics.add(topic);
  topicsChanged();
});

/** Why the server would refuse the whole request for this topic, or an empty text. */
function errorOf(topic) {
  const size = new TextEncoder().encode(topic).length;
  if (size > LONGEST_TOPIC_BYTES) return `A topic has at most ${LONGEST_TOPIC_BYTES} bytes; this one has ${size}.`;
  if (/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(topic)) return "A topic has no control characters.";
  if (topic.split(".").includes("*")) return "A topic is a name, such as orders.42: a pattern with * cannot be subscribed to.";
  return "";
}

function topicsChanged() {
  denied = new Set();
  refusal = "";
  history.replaceState(null, "", topics.size ? `?${query()}` : location.pathname);
  showTopics();
  showDenied();
  connect();
}

/** What may not be subscribed to. The status says only whether events come. */
function showDenied() {
  const names = [...denied].map((name) => `“${name}”`).join(", ");
  const remedy = byId("login") ? "Log in with an account that may" : "Ask an administrator for the permission";
  const partly = names && `You may not subscribe to ${names}; the other topics are served. ${remedy}, or remove the refused topics.`;
  announce(byId("denied"), refusal || partly);
  for (const item of byId("topics").children) {
    item.classList.toggle("denied", denied.has(item.querySelector(".chip-name").textContent));
  }
  if (byId("status").dataset.state === "live") showState("live", "");
}

function showTopics() {
  byId("topics").replaceChildren(...[...topics].map(chip));
  const here = location.pathname + location.search;
  const login = byId("login");
  if (login) login.href = `${login.pathname}?${new URLSearchParams({ next: here })}`;
  const next = document.querySelector("input[name=next]");
  if (next) next.value = here;
  const publishTopic = byId("publish-topic");
  if (publishTopic) publishTopic.value ||= [...topics][0] ?? "";
  showSnippets();
  download.offer(query());
}

/** The lines name the topics that are served. */
function showSnippets() {
  const served = [...topics].filter((topic) => !denied.has(topic));
  snippets.show(served.length ? served : [app.dataset.defaultTopic || "news"]);
}

function chip(topic) {
  const item = copyOf(byId("chip-template"));
  item.querySelector(".chip-name").textContent = topic;
  const remove = item.querySelector("button");
  remove.setAttribute("aria-label", `Remove ${topic}`);
  remove.addEventListener("click", () => {
    topics.delete(topic);
    topicsChanged();
    byId("topic-input").focus();
  });
  return item;
}

// The events

function showCount() {
  byId("empty").hidden = !list.empty || !jobs.empty;
  byId("events").hidden = list.empty;
  byId("clear").hidden = list.empty && jobs.empty;
  byId("events-count").textContent = list.count;
}

byId("clear").addEventListener("click", () => {
  list.clear();
  jobs.clear();
  showCount();
  byId("topic-input").focus();
});

const publishForm = byId("publish-form");
if (publishForm) preparePublishing(publishForm, publishUrl);
topicsChanged();
