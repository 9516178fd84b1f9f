// Progress bars: one bar for each job, instead of a row for each of its events.

const NEWEST = 20;
const ENDS = { done: "Done", failed: "Failed" };

export class Jobs {
  #list;
  #template;
  #bars = new Map();

  constructor(list, template) {
    this.#list = list;
    this.#template = template;
  }

  /** Shows the event in the bar of its job. False if the event is not about a job. */
  show({ type, topics, data }) {
    if (type !== "progress" || typeof data?.job !== "string") return false;
    const bar = this.#bars.get(data.job) ?? this.#add(data.job);
    const share = typeof data.percent === "number" ? data.percent : null;
    bar.querySelector(".job-name").textContent = topics[0];
    bar.querySelector(".job-share").textContent = shareOf(data, share);
    bar.querySelector(".job-message").textContent = data.message || "";
    const progress = bar.querySelector("progress");
    progress.setAttribute("aria-label", `${topics[0]} ${data.message || ""}`.trim());
    if (share !== null) progress.value = share;
    else if (data.state in ENDS) progress.value = data.state === "done" ? 100 : 0;
    else progress.removeAttribute("value");
    bar.dataset.state = data.state in ENDS ? data.state : "running";
    return true;
  }

  get empty() {
    return this.#bars.size === 0;
  }

  /** Removes the jobs that have ended. */
  clear() {
    for (const [job, bar] of this.#bars) if (bar.dataset.state in ENDS) this.#remove(job);
  }

  #add(job) {
    const bar = this.#template.content.firstElementChild.cloneNode(true);
    this.#bars.set(job, bar);
    this.#list.prepend(bar);
    this.#list.hidden = false;
    if (this.#bars.size > NEWEST) this.#remove(this.#bars.keys().next().value);
    return bar;
  }

  #remove(job) {
    this.#bars.get(job).remove();
    this.#bars.delete(job);
    this.#list.hidden = this.empty;
  }
}

function shareOf({ done, state, rate }, share) {
  const count = Number(done || 0).toLocaleString();
  const progress = share === null ? count : `${Math.floor(share)} %`;
  return ENDS[state] ? `${ENDS[state]}, ${progress}` : `${progress}, ${Number(rate || 0).toPrecision(3)} a second`;
}
