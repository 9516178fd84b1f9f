// The page: topics in its own URL, events as they come, and the form that publishes.

import { Download } from "./download.js";
import { Jobs } from "./jobs.js";
import { preparePublishing } from "./publish.js";
import { Subscription, readable } from "./stream.js";

const LONGEST_LIST = 200;
const LONGEST_LINE = 100;
const RESET_SHOWN = 5_000;
const LABELS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  reset: "Reset",
  refused: "Refused",
  closed: "Closed",
};
const RESET_REASONS = {
  unknown: "the server does not know the position that this page had reached",
  trimmed: "they are older than what the server keeps",
  log_lost: "the log began anew",
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

// The connection

let received = 0;
let shown = ["closed", ""];
let resetTimer = 0;
let denied = new Set();

const subscription = new Subscription(eventsUrl.pathname, Number(app.dataset.keepalive), {
  state(name, detail) {
    shown = [name, name === "refused" ? `${detail} ${wayOn()}` : detail];
    if (name !== "live") resetTimer = clearTimeout(resetTimer);
    if (!resetTimer) showState(...shown);
  },
  event(envelope) {
    if (jobs.show(envelope)) return showCount();
    received += 1;
    addRow(eventRow(envelope));
  },
  denied(names) {
    denied = new Set(names);
    showDenied();
  },
  reset(reason) {
    addRow(resetRow(reason));
    showState("reset", "The events in between are lost.");
    clearTimeout(resetTimer);
    resetTimer = setTimeout(() => {
      resetTimer = 0;
      showState(...shown);
    }, RESET_SHOWN);
  },
});

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
  if (topics.size) return subscription.open([...topics]);
  subscription.close();
  return showClosed(`Add a topic${byId("login") ? ", or log in for your own" : ""}.`);
}

function showClosed(detail) {
  resetTimer = clearTimeout(resetTimer);
  showState("closed", detail);
}

byId("toggle").addEventListener("click", () => {
  if (isClosed()) return connect();
  subscription.close();
  return showClosed("The next connection continues from here.");
});

// The topics

byId("topic-form").addEventListener("submit", (submit) => {
  submit.preventDefault();
  const topic = byId("topic-input").value.trim();
  byId("topic-input").value = "";
  if (!topic || topics.has(topic)) return;
  topics.add(topic);
  topicsChanged();
});

function topicsChanged() {
  denied = new Set();
  history.replaceState(null, "", topics.size ? `?${query()}` : location.pathname);
  showTopics();
  showDenied();
  connect();
}

function showDenied() {
  const names = [...denied].map((name) => `“${name}”`).join(", ");
  const remedy = byId("login") ? "Log in with an account that may" : "Ask an administrator for the permission";
  announce(byId("denied"), names && `You may not subscribe to ${names}; the other topics are served. ${remedy}, or remove the refused topics.`);
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

function chip(topic) {
  const item = clone("chip-template");
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

function addRow(row) {
  const list = byId("events");
  list.prepend(row);
  if (list.children.length > LONGEST_LIST) list.lastElementChild.remove();
  showCount();
}

function showCount() {
  const listed = byId("events").querySelectorAll(".event").length;
  const empty = byId("events").children.length === 0;
  byId("empty").hidden = !empty || !jobs.empty;
  byId("events").hidden = empty;
  byId("clear").hidden = empty && jobs.empty;
  byId("events-count").textContent =
    listed < received ? `the newest ${listed} of ${received}` : listed || "";
}

function eventRow({ id, topics: names, type, data, time }) {
  const row = clone("event-template");
  const badge = row.querySelector(".event-type");
  badge.textContent = type || "message";
  badge.classList.toggle("untyped", !type);
  row.querySelector(".event-topics").append(...names.map((name) => element("span", name)));
  const stamp = row.querySelector(".event-time");
  stamp.dateTime = stamp.title = time;
  stamp.textContent = localTime(time);
  const body = row.querySelector(".event-data");
  body.textContent = typeof data === "string" ? data : legible(data ?? null);
  row.querySelector(".event-id").textContent = id;
  return row;
}

function resetRow(reason) {
  const row = clone("reset-template");
  row.querySelector(".divider-why").textContent =
    `Events between those below and above this line are lost: ${RESET_REASONS[reason] ?? readable(reason)}.`;
  return row;
}

function localTime(time) {
  const moment = new Date(time);
  const today = moment.toDateString() === new Date().toDateString();
  const clock = moment.toLocaleTimeString([], { hourCycle: "h23" });
  return today ? clock : `${moment.toLocaleDateString()} ${clock}`;
}

/** JSON on one line where it fits, else indented. */
function legible(data) {
  const indented = JSON.stringify(data, null, 2);
  const line = indented.replace(/\n\s*/g, " ");
  return line.length > LONGEST_LINE ? indented : line;
}

byId("clear").addEventListener("click", () => {
  byId("events").replaceChildren();
  jobs.clear();
  received = 0;
  showCount();
  byId("topic-input").focus();
});

// The snippets

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function showSnippets() {
  const [topic = "news"] = topics;
  const topicQuery = topics.size ? query() : new URLSearchParams({ topic });
  showSnippet("snippet-curl", `curl -N '${eventsUrl}?${topicQuery}'`);
  showSnippet(
    "snippet-js",
    `const events = new EventSource(\n  "${eventsUrl.pathname}?${topicQuery}"\n);\n` +
      "events.onmessage = (event) =>\n  console.log(event.data);\n" +
      "// typed events: addEventListener(type, …)",
  );
  showSnippet(
    "snippet-publish",
    `curl ${publishUrl} \\\n  -H "Authorization: Bearer $KEY" \\\n` +
      `  --data-urlencode ${quoted(`topic=${topic}`)} \\\n  --data-urlencode 'data=Hello'`,
  );
}

/** Lines may break after `&`, which copying does not see. */
function showSnippet(id, text) {
  const parts = text.split(/(?<=&)/).flatMap((part) => [part, document.createElement("wbr")]);
  byId(id).replaceChildren(...parts.slice(0, -1));
}

for (const button of document.querySelectorAll("[data-copies]")) {
  const label = button.firstChild;
  button.addEventListener("click", async () => {
    const source = byId(button.dataset.copies);
    try {
      await navigator.clipboard.writeText(source.textContent);
      label.data = "Copied";
    } catch {
      getSelection().selectAllChildren(source); // no clipboard without https: leave it selected
      label.data = "Selected";
    }
    setTimeout(() => (label.data = "Copy"), 2_000);
  });
}

// Small things

const clone = (id) => byId(id).content.firstElementChild.cloneNode(true);

function element(name, text) {
  const created = document.createElement(name);
  created.textContent = text;
  return created;
}

const publishForm = byId("publish-form");
if (publishForm) preparePublishing(publishForm, publishUrl);
topicsChanged();
