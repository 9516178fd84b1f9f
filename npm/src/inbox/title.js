// The count before the title of the page, whoever else sets the title.

let prefix = "";
let observer = null;

/** "(3) Title"; with an empty text, the title as the page has it. */
export function countInTitle(text) {
  const own = document.title.startsWith(prefix) ? document.title.slice(prefix.length) : document.title;
  prefix = text && `(${text}) `;
  if (document.title !== prefix + own) document.title = prefix + own;
  if (prefix && !observer) {
    observer = new MutationObserver(() => document.title.startsWith(prefix) || countInTitle(prefix.slice(1, -2)));
    observer.observe(document.head, { childList: true, subtree: true, characterData: true });
  }
}
