// The form that publishes.

import { problemDetail } from "./carillon.js";

export function preparePublishing(form, url) {
  const { topic, type, data, csrfmiddlewaretoken } = form.elements;
  const button = form.querySelector("button.primary");
  const asText = form.querySelector("#publish-text");
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
    const { duplicate } = await response.json();
    lastAttempt = { body: "", key: "" };
    return show("good", duplicate ? "It had been published before: nothing was published twice." : "Published to 1 topic.");
  }

  async function submit(value) {
    button.disabled = true;
    asText.hidden = true;
    show("", "Publishing…");
    const named = type.value.trim() ? { type: type.value.trim() } : {};
    try {
      await publish({ topic: topic.value.trim(), data: value, ...named });
    } catch {
      show("bad", "The server cannot be reached. Publishing again is safe.");
    } finally {
      button.disabled = false;
    }
  }

  form.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    const { value, error } = parsed(data.value);
    asText.hidden = !error;
    if (error) return show("bad", `This is not JSON: ${error}. Correct it, or publish it as text.`);
    return submit(value);
  });
  asText.addEventListener("click", () => submit(data.value));

  data.addEventListener("input", () => {
    if (asText.hidden) return;
    asText.hidden = true;
    show("", "");
  });
  data.addEventListener("keydown", (press) => {
    if (press.key === "Enter" && (press.ctrlKey || press.metaKey)) form.requestSubmit();
  });
}

/**
 * A JSON object or array is sent as JSON. Anything else, such as `42` or `true`, is text. A text
 * that begins as an object or array has an `error` if it is none.
 */
function parsed(text) {
  if (!/^\s*[{[]/.test(text)) return { value: text };
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { error: error.message };
  }
}

// crypto.randomUUID exists only on https and localhost.
const randomKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");
