// The service worker of push messages. It shows each, in the form of the Push API that browsers know
// without a worker too, closes what its person has read elsewhere, and follows a click.

const setBadge = (count) => (count ? navigator.setAppBadge?.(count) : navigator.clearAppBadge?.());

async function show({ notification: { title, navigate, ...options } }) {
  await self.registration.showNotification(title, { ...options, data: { navigate } });
}

async function close({ close: tags }) {
  for (const tag of tags) {
    const shown = await self.registration.getNotifications({ tag });
    shown.forEach((notification) => notification.close());
  }
}

self.addEventListener("push", (event) => {
  const message = event.data.json();
  const done = message.close ? close(message) : show(message);
  // A badge that cannot be set is no reason to say that the message was not shown.
  event.waitUntil(Promise.all([done, Promise.resolve(setBadge(message.app_badge)).catch(() => {})]));
});

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(self.clients.openWindow(event.notification.data.navigate));
});

// A new version is used at once: a page never talks to it, so none needs the old one.
self.addEventListener("install", () => self.skipWaiting());
