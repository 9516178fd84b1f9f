// An EventSource reads the whole of an answer while the server writes it into a topic.

const answer = document.getElementById("answer");
if (answer) read(answer, document.getElementById("state"), document.getElementById("stop"));

function read(answer, state, stop) {
  const button = stop.querySelector("button");
  const events = new EventSource(answer.dataset.events);

  function end(text) {
    events.close();
    state.textContent = text;
    button.hidden = true;
  }

  events.addEventListener("begin", () => (state.textContent = "Answering…"));
  events.addEventListener("token", (event) => {
    const { at, text } = JSON.parse(event.data);
    if (at === 0) answer.textContent = "";
    answer.append(text);
  });
  events.addEventListener("done", (event) => {
    end(JSON.parse(event.data).stopped ? "Stopped." : "That was the answer.");
  });
  events.addEventListener("failed", () => end("The answer broke off."));
  events.addEventListener("stream.reset", () => location.reload());
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) end("This answer can no longer be read.");
  };
  stop.addEventListener("submit", (submit) => {
    submit.preventDefault();
    fetch(stop.action, { method: "POST", body: new FormData(stop) });
  });
}
