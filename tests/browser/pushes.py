"""Push messages in Chromium: its push service is one of a test, and the rest is its own.

Chromium reaches no push service here. So a page subscribes at that of the test, and what that one
got is delivered to the service worker by the developer protocol.
"""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from playwright.async_api import BrowserContext, CDPSession, Page

from notifications.inbox.push.keys import make_key
from tests.browser.bells import Bells
from tests.browser.test_carillon_js import until
from tests.harness.mail_server import MailServer, mail_server
from tests.harness.push_service import PushedDevice, PushService, push_service

SCOPE = "/inbox/"
_SUBSCRIBE = """
const SUBSCRIBED = "subscribed with this key";
const subscriptionOf = (key) => ({
  endpoint: SUBSCRIPTION.endpoint,
  options: { applicationServerKey: Uint8Array.from(
    atob(key.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(),
  ).buffer },
  toJSON: () => SUBSCRIPTION,
  unsubscribe: async () => {
    localStorage.removeItem(SUBSCRIBED);
    return true;
  },
});
PushManager.prototype.getSubscription = async () => {
  const key = localStorage.getItem(SUBSCRIBED);
  return key && subscriptionOf(key);
};
PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
  if (!userVisibleOnly) throw new Error("each message has to be shown");
  localStorage.setItem(SUBSCRIBED, applicationServerKey);
  return subscriptionOf(applicationServerKey);
};
"""
_SHOWN = f"""
navigator.serviceWorker.getRegistration({SCOPE!r})
  .then((worker) => worker.getNotifications())
  .then((shown) => shown.map(({{ title, body, lang, data }}) => [title, body, lang, data.navigate]))
"""


@dataclass
class PushingShop:
    """A site that sends push messages and e-mails, and where it sends them."""

    site: Bells
    pushes: PushService
    mail: MailServer

    async def deliver(self, after: float = 0) -> dict[str, int]:
        done: dict[str, int] = (await self.site.ask("deliver", after=after)).json()
        return {name: number for name, number in done.items() if number}

    @classmethod
    def open(cls, folder: Path, stack: ExitStack) -> Self:
        pushes, mail = stack.enter_context(push_service()), stack.enter_context(mail_server())
        settings = {
            "CARILLON_PUSH_KEY": make_key(),
            "CARILLON_PUSH_SERVICES": pushes.origin,
            "MAIL_PORT": str(mail.port),
        }
        return cls(Bells(folder, stack, **settings), pushes, mail)


async def subscribe_at(context: BrowserContext, device: PushedDevice) -> None:
    """Pages of this browser subscribe as this device."""
    await context.add_init_script(
        f"{{ const SUBSCRIPTION = {json.dumps(device.subscription)}; {_SUBSCRIBE} }}"
    )


async def shown(tab: Page) -> list[list[str]]:
    """What the browser shows: title, text, language and address of each."""
    found: list[list[str]] = await tab.evaluate(_SHOWN)
    return found


class Browsed:
    """The service worker in a browser, which gets what its device was sent."""

    def __init__(self, devtools: CDPSession, tab: Page, device: PushedDevice) -> None:
        self._devtools, self._tab, self._device = devtools, tab, device
        self._registrations: dict[str, str] = {}
        self._delivered = 0
        devtools.on("ServiceWorker.workerRegistrationUpdated", self._note)

    @classmethod
    async def of(cls, tab: Page, device: PushedDevice) -> Self:
        browsed = cls(await tab.context.new_cdp_session(tab), tab, device)
        await browsed._devtools.send("ServiceWorker.enable")
        return browsed

    def _note(self, event: dict[str, Any]) -> None:
        for each in event["registrations"]:
            self._registrations[each["scopeURL"]] = each["registrationId"]

    async def deliver(self) -> None:
        """Hand on what has arrived since the last time, and wait until the worker has done it."""
        origin: str = await self._tab.evaluate("location.origin")

        async def registration() -> str | None:
            return self._registrations.get(f"{origin}{SCOPE}")

        id = await until(registration, lambda found: found is not None)
        waiting = self._device.messages[self._delivered :]
        self._delivered += len(waiting)
        for message in waiting:
            parameters = {"origin": origin, "registrationId": id, "data": json.dumps(message)}
            await self._devtools.send("ServiceWorker.deliverPushMessage", parameters)
