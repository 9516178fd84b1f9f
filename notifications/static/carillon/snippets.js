// Lines to copy, for the topics of the page.

const GREETING = '{"text": "Hello!"}';

export class Snippets {
  #eventsUrl;
  #publishUrl;
  #moduleUrl;

  constructor(eventsUrl, publishUrl, moduleUrl) {
    this.#moduleUrl = moduleUrl;
    this.#eventsUrl = eventsUrl;
    this.#publishUrl = publishUrl;
    for (const button of document.querySelectorAll("[data-copies]")) prepareCopying(button);
  }

  show([...topics]) {
    const [topic] = topics;
    const query = new URLSearchParams(topics.map((name) => ["topic", name]));
    const names = topics.map((name) => JSON.stringify(name)).join(", ");
    const body = `{"topic": ${JSON.stringify(topic)}, "data": ${GREETING}}`;
    this.#write(
      "snippet-publish",
      `curl ${this.#publishUrl} \\\n  -H "Authorization: Bearer $KEY" \\\n` +
        `  -H 'Content-Type: application/json' \\\n  -d ${quoted(body)}`,
    );
    this.#write(
      "snippet-js",
      // JSON.stringify, because Django 5.2 would take a quoted text here for a file that is imported.
      `const { carillon } = await import(${JSON.stringify(this.#moduleUrl.pathname)});\n` +
        `const live = carillon("${this.#eventsUrl.pathname}", { topics: [${names}] });\n` +
        'live.on("*", ({ type, data }) => console.log(type, data.text));\n' +
        'live.on("stream.reset", () => location.reload());',
    );
    this.#write("snippet-curl", `curl -N '${this.#eventsUrl}?${query}'`);
    this.#write(
      "snippet-django",
      `from notifications import publish\n\npublish(${JSON.stringify(topic)}, ${GREETING})`,
    );
  }

  /** Lines may break after `&`, which copying does not see. */
  #write(id, text) {
    const parts = text.split(/(?<=&)/).flatMap((part) => [part, document.createElement("wbr")]);
    document.getElementById(id).replaceChildren(...parts.slice(0, -1));
  }
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function prepareCopying(button) {
  const label = button.firstChild;
  const source = document.getElementById(button.dataset.copies);
  button.addEventListener("click", async () => {
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
