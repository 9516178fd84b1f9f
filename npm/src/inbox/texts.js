// What the bell says, in English and German. A page brings other texts in the attribute `texts`.

const TEXTS = {
  en: {
    title: "Notifications",
    unseen: { one: "{n} new", other: "{n} new" },
    arrived: { one: "{n} new notification", other: "{n} new notifications" },
    readAll: "Mark all as read",
    unread: "Unread",
    archive: "Archive",
    dismiss: "Dismiss",
    empty: "You are all caught up",
    emptyHint: "New notifications appear here.",
    loading: "Loading…",
    more: "Show more",
    all: "All notifications",
    pushOn: "Notify me on this device",
    pushOff: "Stop notifying this device",
    pushBlocked: "This browser blocks notifications of this site",
    failed: "That could not be saved or loaded.",
    retry: "Try again",
    stopped: "No new notifications arrive on this page any more.",
    reload: "Reload",
  },
  de: {
    title: "Benachrichtigungen",
    unseen: { one: "{n} neue", other: "{n} neue" },
    arrived: { one: "{n} neue Benachrichtigung", other: "{n} neue Benachrichtigungen" },
    readAll: "Alle als gelesen markieren",
    unread: "Ungelesen",
    archive: "Archivieren",
    dismiss: "Schließen",
    empty: "Alles gelesen",
    emptyHint: "Neue Benachrichtigungen erscheinen hier.",
    loading: "Wird geladen …",
    more: "Mehr anzeigen",
    all: "Alle Benachrichtigungen",
    pushOn: "Auf diesem Gerät benachrichtigen",
    pushOff: "Auf diesem Gerät nicht mehr benachrichtigen",
    pushBlocked: "Dieser Browser blockiert Benachrichtigungen dieser Seite",
    failed: "Das konnte nicht gespeichert oder geladen werden.",
    retry: "Noch einmal versuchen",
    stopped: "Auf dieser Seite kommen keine neuen Benachrichtigungen mehr an.",
    reload: "Neu laden",
  },
};
const UNITS = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 7],
  ["week", 4.35],
  ["month", 12],
  ["year", Infinity],
];

export class Texts {
  #texts;
  #plural;
  #number;
  #ago;
  #date;

  /** `own` are texts of the page, which win over those of the language. */
  constructor(language, own = {}) {
    const [locale] = supported(language);
    this.#texts = { ...TEXTS.en, ...TEXTS[locale.split("-")[0]], ...own };
    this.#plural = new Intl.PluralRules(locale);
    this.#number = new Intl.NumberFormat(locale);
    this.#ago = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
    this.#date = new Intl.DateTimeFormat(locale, { dateStyle: "long", timeStyle: "short" });
  }

  /** The text of this name, in the form that `n` has in this language. */
  get(name, n = 0) {
    const text = this.#texts[name];
    const form = typeof text === "string" ? text : (text[this.#plural.select(n)] ?? text.other);
    return form.replace("{n}", this.#number.format(n));
  }

  /** "5 minutes ago" */
  ago(moment) {
    let passed = Math.max(0, (Date.now() - moment) / 1_000);
    for (const [unit, size] of UNITS) {
      if (passed < size) return this.#ago.format(unit === "second" ? 0 : -Math.floor(passed), unit);
      passed /= size;
    }
  }

  date(moment) {
    return this.#date.format(moment);
  }
}

function supported(language) {
  try {
    return [...Intl.PluralRules.supportedLocalesOf(language), "en"];
  } catch {
    return ["en"]; // not the tag of a language
  }
}
