// What a page shows already: the versions of its objects, by their keys.

export class Versions {
  #known = new Map();

  /** Notes whatever has a `key` and a `version`, at any depth. */
  note(value) {
    if (!value || typeof value !== "object") return;
    this.isNews(value);
    for (const item of Object.values(value)) this.note(item);
  }

  /** Notes the elements of a page that say what they show. */
  noteElements(root) {
    for (const { dataset } of root.querySelectorAll("[data-carillon-key][data-carillon-version]")) {
      this.isNews({ key: dataset.carillonKey, version: dataset.carillonVersion });
    }
  }

  /** Whether this version of the object is newer than any before. Data without a key always is. */
  isNews(data) {
    if (data?.key === undefined || data.version === undefined) return true;
    const [key, version] = [String(data.key), data.version];
    const known = this.#known.get(key);
    if (known !== undefined && !isLater(version, known)) return false;
    this.#known.set(key, version);
    return true;
  }
}

/** Numbers compare as numbers, even if one is the text of an attribute; other versions as texts. */
function isLater(version, known) {
  const [a, b] = [Number(version), Number(known)];
  return isNaN(a - b) ? String(version) > String(known) : a > b;
}
