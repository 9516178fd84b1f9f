// Push messages on this device: subscribing to them, and closing those that are seen on this page.

const OWNER = "carillon.push"; // in localStorage: whose messages come to this browser
const ENDPOINT = "carillon.push.endpoint"; // and at which address the server sends them

export class Push {
  isOn = false;
  isBlocked = false;
  #key;
  #subscribed;
  #owner;
  #server;
  #scope;
  #worker = null;
  #badge = null;
  #changed;

  /** The site has a `key` if it sends any; `owner` is whose page this is, and `subscribed` whether the server has this browser "now" or "no-more". */
  constructor({ key, subscribed, owner, inbox, server, changed }) {
    this.#key = key;
    this.#subscribed = subscribed;
    this.#owner = owner;
    this.#server = server;
    this.#scope = new URL(inbox, document.baseURI);
    this.#changed = changed;
  }

  /** Whether this browser can take any. On an iPhone only a site on the home screen can. */
  get isOffered() {
    return Boolean(this.#key) && isSecureContext && "PushManager" in window && "serviceWorker" in navigator;
  }

  /** What was switched on before: the server is sent the subscription again, which may be another. */
  async start() {
    const owner = localStorage.getItem(OWNER);
    if (!this.isOffered || !owner) return;
    // Another person was here, or somebody has ended it elsewhere.
    if (owner !== this.#owner || this.#subscribed === "no-more") return this.#forget(await this.#subscription());
    if (Notification.permission !== "granted") return this.#remember(null);
    await this.#subscribe();
  }

  async switch(isOn) {
    if (!isOn) return this.#end();
    const answer = await Notification.requestPermission();
    this.isBlocked = answer === "denied";
    if (answer === "granted") await this.#subscribe();
    this.#changed();
  }

  /** Closes the messages about what is not unseen any more, of which `stateOf(id)` knows. */
  async keep(stateOf, unseen) {
    if (!this.isOn) return;
    if (unseen !== this.#badge) {
      this.#badge = unseen;
      setBadge(unseen);
    }
    for (const message of await this.#worker.getNotifications()) {
      if (![undefined, "unseen"].includes(stateOf(message.tag))) message.close();
    }
  }

  async #subscribe() {
    this.#worker = await navigator.serviceWorker.register(new URL("worker.js", this.#scope), { scope: this.#scope });
    await active(this.#worker);
    const { pushManager } = this.#worker;
    const options = { userVisibleOnly: true, applicationServerKey: this.#key };
    let subscription = await pushManager.getSubscription();
    if (subscription && base64url(subscription.options.applicationServerKey) !== this.#key) {
      await subscription.unsubscribe();
      subscription = null;
    }
    subscription ??= await pushManager.subscribe(options);
    if (this.#subscribed !== "now" || localStorage.getItem(ENDPOINT) !== subscription.endpoint) {
      await this.#server.post("push", subscription.toJSON());
      localStorage.setItem(ENDPOINT, subscription.endpoint);
      this.#subscribed = "now";
    }
    this.#remember(this.#owner);
  }

  async #end() {
    const subscription = await this.#subscription();
    if (subscription) await this.#server.post("push/forget", { endpoint: subscription.endpoint });
    await this.#forget(subscription);
  }

  async #subscription() {
    const worker = await navigator.serviceWorker.getRegistration(this.#scope);
    this.#worker = worker?.scope === this.#scope.href ? worker : null; // it may be one of the site's own
    return this.#worker?.pushManager.getSubscription();
  }

  async #forget(subscription) {
    await subscription?.unsubscribe();
    (await this.#worker?.getNotifications())?.forEach((message) => message.close());
    localStorage.removeItem(ENDPOINT);
    this.#subscribed = "";
    this.#remember(null);
    setBadge(0);
  }

  #remember(owner) {
    if (owner) localStorage.setItem(OWNER, owner);
    else localStorage.removeItem(OWNER);
    this.isOn = Boolean(owner);
    this.#changed();
  }
}

/** Of the icon of an installed app; other browsers have none. */
function setBadge(count) {
  const done = count ? navigator.setAppBadge?.(count) : navigator.clearAppBadge?.();
  Promise.resolve(done).catch(() => {});
}

/** Resolves when the worker of a registration runs: before, nothing can subscribe. */
async function active(registration) {
  const worker = registration.installing ?? registration.waiting;
  if (registration.active || !worker) return;
  await new Promise((resolve) =>
    worker.addEventListener("statechange", () => ["activated", "redundant"].includes(worker.state) && resolve()),
  );
}

const base64url = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
