// A page reads the whole of an answer while the server writes it into a topic.

import { carillon } from "../carillon/carillon.js";

const answer = document.getElementById("answer");
if (answer) read(answer, document.getElementById("state"), document.getElementById("stop"));

function read(answer, state, stop) {
  const button = stop.querySelector("button");
  const live = carillon(answer.dataset.events);

  function end(text) {
    live.close();
    state.textContent = text;
    button.hidden = true;
  }

  live.on("begin", () => (state.textContent = "Answering…"));
  live.on("token", ({ data: { at, text } }) => {
    if (at === 0) answer.textContent = "";
    answer.append(text);
  });
  live.on("done", ({ data }) => end(data.stopped ? "Stopped." : "That was the answer."));
  live.on("failed", () => end("The answer broke off."));
  live.on("stream.reset", () => location.reload());
  live.on("stream.status", ({ data }) => {
    if (data.status === "refused") end("This answer can no longer be read.");
  });
  stop.addEventListener("submit", (submit) => {
    submit.preventDefault();
    fetch(stop.action, { method: "POST", body: new FormData(stop) });
  });
}
