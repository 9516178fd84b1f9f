// The service worker of push messages, with a browser around it that notes what it does.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import vm from "node:vm";

const source = await readFile(new URL("../../notifications/static/carillon/worker.js", import.meta.url), "utf8");

function worker({ badges = true } = {}) {
  const listeners = {};
  const shown = new Map();
  const done = { opened: [], badges: [] };
  const self = {
    addEventListener: (type, listener) => (listeners[type] = listener),
    skipWaiting: () => (done.skipped = true),
    clients: { openWindow: async (url) => done.opened.push(url) },
    registration: {
      showNotification: async (title, options) =>
        shown.set(options.tag, { title, ...options, close: () => shown.delete(options.tag) }),
      getNotifications: async ({ tag }) => (shown.has(tag) ? [shown.get(tag)] : []),
    },
  };
  const navigator = badges && {
    setAppBadge: async (count) => done.badges.push(count),
    clearAppBadge: async () => done.badges.push(0),
  };
  vm.runInNewContext(source, { self, navigator: navigator || {}, Promise });
  const dispatch = async (type, event) => {
    let ended;
    listeners[type]({ waitUntil: (promise) => (ended = promise), ...event });
    await ended;
  };
  const push = (message) => dispatch("push", { data: { json: () => message } });
  return { push, dispatch, shown, done };
}

const message = (tag, badge) => ({
  web_push: 8030,
  notification: { title: "Orders", body: `Paid ${tag}`, navigate: `https://shop.example/${tag}`, tag, lang: "en" },
  app_badge: badge,
});

test("what comes is shown, with the number on the icon", async () => {
  const { push, shown, done } = worker();
  await push(message("7", 3));
  const { title, body, lang, data } = shown.get("7");
  assert.deepEqual([title, body, lang, data.navigate], ["Orders", "Paid 7", "en", "https://shop.example/7"]);
  assert.deepEqual(done.badges, [3]);
});

test("what was seen elsewhere is closed, and the number goes", async () => {
  const { push, shown, done } = worker();
  for (const tag of ["1", "2"]) await push(message(tag, 2));
  await push({ close: ["1", "of which it shows none"], app_badge: 1 });
  await push({ close: ["2"], app_badge: 0 });
  assert.equal(shown.size, 0);
  assert.deepEqual(done.badges, [2, 2, 1, 0]);
});

test("a browser without a number on the icon shows it all the same", async () => {
  const { push, shown } = worker({ badges: false });
  await push(message("7", 3));
  assert.equal(shown.size, 1);
});

test("a click opens the address, and what was clicked is closed", async () => {
  const { push, dispatch, shown, done } = worker();
  await push(message("7", 3));
  await dispatch("notificationclick", { notification: shown.get("7") });
  assert.equal(shown.size, 0);
  assert.deepEqual(done.opened, ["https://shop.example/7"]);
});
