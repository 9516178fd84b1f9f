// The form that publishes.

import { problemDetail } from "./stream.js";

export function preparePublishing(form, url) {
  const { topic, type, data, csrfmiddlewaretoken } = form.elements;
  const button = form.querySelector("button");
  const result = form.querySelector("[role=status]");
  let lastAttempt = { body: "", key: "" };

  function show(outcome, text) {
    result.dataset.outcome = outcome;
    result.textContent = text;
  }

  // One idempotency key per event, so that pressing the button again after an error is safe.
  function post(event) {
    const body = JSON.stringify(event);
    if (body !== lastAttempt.body) lastAttempt = { body, key: randomKey() };
    return fetch(url, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "X-CSRFToken": csrfmiddlewaretoken.value,
      },
      body: JSON.stringify({ ...event, idempotency_key: lastAttempt.key }),
    });
  }

  async function publish(event) {
    const response = await post(event);
    if (!response.ok) return show("bad", await problemDetail(response));
    const { id, duplicate } = await response.json();
    lastAttempt = { body: "", key: "" };
    return show("good", `${duplicate ? "Was kept before" : "Kept"} as ${id}`);
  }

  form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    button.disabled = true;
    show("", "Publishing…");
    const named = type.value.trim() ? { type: type.value.trim() } : {};
    try {
      await publish({ topic: topic.value.trim(), data: parsed(data.value), ...named });
    } catch {
      show("bad", "The server cannot be reached. Publishing again is safe.");
    } finally {
      button.disabled = false;
    }
  });

  data.addEventListener("keydown", (press) => {
    if (press.key === "Enter" && (press.ctrlKey || press.metaKey)) form.requestSubmit();
  });
}

/** A JSON object or array is sent as JSON. Anything else, such as `42` or `true`, is text. */
function parsed(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : text;
  } catch {
    return text;
  }
}

// crypto.randomUUID exists only on https and localhost.
const randomKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");
