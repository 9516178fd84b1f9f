// Elements that are made in script: a strict Content-Security-Policy forbids styles in markup.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  bell: "M6 9.5a6 6 0 0 1 12 0c0 5.5 2 6.5 2 7.5H4c0-1 2-2 2-7.5M10 20.5a2.2 2.2 0 0 0 4 0",
  archive: "M4 5h16v4H4zM5.5 9v10h13V9M10 13h4",
  close: "m6.5 6.5 11 11m0-11-11 11",
  readAll: "m3 12.5 4 4 8-9M12 15.5l1.5 1L21 7.5",
};

/** Attributes that are false are left out; `onclick` and its like are listeners. */
export function element(name, attributes = {}, ...children) {
  const made = name in { svg: 1, path: 1 } ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key.slice(2), value);
    else if (value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export const icon = (name) =>
  element("svg", { viewBox: "0 0 24 24", "aria-hidden": "true" }, element("path", { d: ICONS[name] }));

/** Writes only what has changed: a live region is read aloud each time that its text is set. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The site's HTML of a notification, to stand in a link or button of ours. */
export function content(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const inner of template.content.querySelectorAll("a, button")) inner.replaceWith(...inner.childNodes);
  return template.content;
}

/** An address that a click may follow; "" for none. */
export function address(url) {
  const { protocol, href } = new URL(url || ".", document.baseURI);
  return url && /^https?:$/.test(protocol) ? href : "";
}
