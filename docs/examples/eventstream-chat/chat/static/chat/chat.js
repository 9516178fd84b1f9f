"use strict";

const {events, last} = document.currentScript.dataset;
const source = new ReconnectingEventSource(events, {lastEventId: last});
const list = document.getElementById("messages");
const form = document.getElementById("say");

source.addEventListener("message", (event) => {
  const item = document.createElement("li");
  item.textContent = JSON.parse(event.data).text;
  item.dataset.id = event.lastEventId;
  list.append(item);
});
source.addEventListener("stream-open", () => { document.body.dataset.state = "open"; });
source.addEventListener("stream-reset", () => { document.body.dataset.state = "reset"; });
source.addEventListener("stream-error", (event) => {
  document.body.dataset.state = JSON.parse(event.data).condition;
  source.close();
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  await fetch(form.action, {method: "POST", body: new FormData(form)});
  form.reset();
});
