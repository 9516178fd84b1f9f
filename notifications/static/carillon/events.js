// The list of events on the page, newest first.

const LONGEST_LIST = 200;
const LONGEST_LINE = 100;
const RESET_REASONS = {
  unknown: "the server does not know the position that this page had reached",
  trimmed: "they are older than what the server keeps",
  log_lost: "the log began anew",
};

export class EventList {
  #list;
  #templates;
  #received = 0;

  /** `templates` has the elements `event` and `reset`. */
  constructor(list, templates) {
    this.#list = list;
    this.#templates = templates;
    this.#awaitTomorrow();
  }

  get empty() {
    return this.#list.children.length === 0;
  }

  /** The number of events listed, and of how many if some are not. */
  get count() {
    const listed = this.#list.querySelectorAll(".event").length;
    return listed < this.#received ? `the newest ${listed} of ${this.#received}` : listed || "";
  }

  add({ id, topics, type, data, time }) {
    const row = copyOf(this.#templates.event);
    const badge = row.querySelector(".event-type");
    badge.textContent = type || "message";
    badge.classList.toggle("untyped", !type);
    row.querySelector(".event-topics").append(...topics.map((name) => element("span", name)));
    const stamp = row.querySelector(".event-time");
    stamp.dateTime = stamp.title = time;
    stamp.textContent = localTime(time);
    row.querySelector(".event-data").textContent = typeof data === "string" ? data : legible(data ?? null);
    prepareDetail(row.querySelector(".event-more"), row.querySelector(".event-id"), id);
    this.#received += 1;
    this.#prepend(row);
  }

  /** Marks the place at which events are missing. */
  addReset(reason) {
    const row = copyOf(this.#templates.reset);
    row.querySelector(".divider-why").textContent =
      `Events between those below and above this line are lost: ${RESET_REASONS[reason] ?? reason}.`;
    this.#prepend(row);
  }

  clear() {
    this.#list.replaceChildren();
    this.#received = 0;
  }

  #prepend(row) {
    this.#list.prepend(row);
    if (this.#list.children.length > LONGEST_LIST) this.#list.lastElementChild.remove();
  }

  /** At midnight, the events of a page that stays open get a date. */
  #awaitTomorrow() {
    const midnight = new Date();
    midnight.setHours(24, 0, 1, 0);
    setTimeout(() => {
      for (const stamp of this.#list.querySelectorAll("time")) {
        stamp.textContent = localTime(stamp.dateTime);
      }
      this.#awaitTomorrow();
    }, midnight - Date.now());
  }
}

function prepareDetail(button, detail, id) {
  detail.textContent = id;
  button.addEventListener("click", () => {
    detail.hidden = !detail.hidden;
    button.setAttribute("aria-expanded", String(!detail.hidden));
  });
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

function element(name, text) {
  const created = document.createElement(name);
  created.textContent = text;
  return created;
}

export const copyOf = (template) => template.content.firstElementChild.cloneNode(true);
