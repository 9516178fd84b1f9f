// The form that sends a notification: the page stays as it is.

const form = document.getElementById("send-form");
const result = document.getElementById("send-result");

async function send() {
  const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
  if (response.ok) return "Sent: the bell of that person has it.";
  return (await response.json().catch(() => ({}))).detail ?? `The server answered ${response.status}.`;
}

form.addEventListener("submit", async (submitted) => {
  submitted.preventDefault();
  result.textContent = "";
  result.textContent = await send().catch(() => "The server cannot be reached.");
});
