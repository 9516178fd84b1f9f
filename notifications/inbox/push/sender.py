"""Sends push messages to the push services of browsers, and reads their answers (RFC 8030)."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from notifications.errors import Invalid
from notifications.inbox.delivery.senders import Message, Refused, Sender, TryLater, Unreachable
from notifications.inbox.push.devices import check_endpoint, devices_to_reach, forget
from notifications.inbox.push.messages import PushMessage, closing, shown
from notifications.telemetry.logs import logger

if TYPE_CHECKING:
    import httpx

    from notifications.inbox.models import Device
    from notifications.inbox.push.encryption import Encryption

TIMEOUT_SECONDS = 10.0
"""How long a push service may take for an answer."""
GONE = (404, 410)
"""The subscription has ended (RFC 8030 §7.3)."""
PASSING = (401, 403, 408, 425, 429)
"""Statuses of what may be mended. The first two are about the site, its key or its clock."""
MAX_RETRY_AFTER, LONGEST_SERVICE_PAUSE = timedelta(days=1), timedelta(minutes=5)
MAX_ANSWER_CHARACTERS = 200
SHOWS_ALL = "push.apple.com"
"""Its browsers end the subscription of a site whose messages show nothing, so none says "close"."""


class Gone(Exception):
    """The subscription has ended, and so the device is forgotten."""


class PushSender(Sender):
    """Keeps its connections until it is closed."""

    def __init__(self) -> None:
        self._client: httpx.Client | None = None
        self._encryption: Encryption | None = None
        self._away: dict[str, float] = {}
        """The push services that are left alone, and until when: without an answer to `close`."""

    def can_reach(self, recipient: Any, using: str) -> bool:
        return bool(devices_to_reach(recipient.pk, using))

    def send(self, message: Message) -> None:
        push, faults = shown(message), list[Exception]()
        for device in devices_to_reach(message.recipient.pk, message.using):
            if device.pk.hex in message.reached:
                continue
            try:
                self._post(device, push, message.using)
            except Gone:
                continue
            except (TryLater, Refused) as error:
                faults.append(error)
            else:
                message.reached.append(device.pk.hex)
        passing = [fault for fault in faults if isinstance(fault, TryLater)]
        if passing:
            raise max(passing, key=lambda fault: fault.pause)
        if not message.reached:
            raise faults[0] if faults else Unreachable

    def take_back(self, messages: Sequence[Message]) -> bool:
        faults, has_disappeared = list[Exception](), False
        for device, some in self._where_shown(messages):
            try:
                self._post(device, closing(some), some[0].using)
                has_disappeared = True
            except TryLater as error:
                faults.append(error)
                continue
            except (Gone, Refused):
                pass  # then there is nothing to see there
            for message in some:
                message.reached.remove(device.pk.hex)
        if faults:
            raise faults[0]
        return has_disappeared

    def _where_shown(self, messages: Sequence[Message]) -> "Iterator[tuple[Device, list[Message]]]":
        """Each device, with those of the messages that it shows."""
        if not messages:
            return
        for device in devices_to_reach(messages[0].recipient.pk, messages[0].using):
            if some := [message for message in messages if device.pk.hex in message.reached]:
                yield device, some

    def close(self) -> None:
        self._away = {each: until for each, until in self._away.items() if until > monotonic()}
        if self._client is not None:
            self._client.close()
            self._client = None

    def _post(self, device: "Device", push: PushMessage, using: str) -> None:
        """Raises `Gone`, `Refused` and `TryLater`."""
        import httpx  # django-carillon[push], as below

        from notifications.inbox.push.encryption import Encryption

        self._client = self._client or httpx.Client(timeout=TIMEOUT_SECONDS)
        self._encryption = self._encryption or Encryption.of_settings()
        try:
            check_endpoint(device.endpoint)
            content, headers = self._encryption.encrypt(device, push.content)
        except (Invalid, ValueError) as error:
            raise Refused(str(error)) from error
        url = urlsplit(device.endpoint)
        if push.shows_nothing and (url.hostname or "").endswith(SHOWS_ALL):
            raise Refused("This browser has to show each message.")
        if url.netloc in self._away:
            left = timedelta(seconds=max(0, self._away[url.netloc] - monotonic()))
            raise TryLater(f"{url.netloc} is away or busy.", left)
        try:
            answer = self._client.post(
                device.endpoint, content=content, headers={**push.headers(), **headers}
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._away[url.netloc] = 0
            raise TryLater(f"{url.netloc}: {error!r}") from error
        self._read(answer, url.netloc, device, using)

    def _read(self, answer: "httpx.Response", service: str, device: "Device", using: str) -> None:
        """Raises what the answer to a message means."""
        if answer.status_code in GONE:
            forget([device.pk], using)
            raise Gone
        if answer.is_success:
            return
        words = f"{service}: {answer.status_code} {answer.text[:MAX_ANSWER_CHARACTERS]}"
        if not answer.is_server_error and answer.status_code not in PASSING:
            logger.warning("push.refused", device=device.pk.hex, error=words)
            raise Refused(words)
        if pause := retry_after(answer.headers.get("Retry-After", "")):
            # Perhaps it is about this device alone, so the others' do not wait for as long.
            self._away[service] = monotonic() + min(pause, LONGEST_SERVICE_PAUSE).total_seconds()
        raise TryLater(words, pause)


def retry_after(value: str) -> timedelta:
    """For how long a service asks to be left alone (RFC 8030 §8.4, RFC 9110 §10.2.3)."""
    if re.fullmatch("[0-9]{1,9}", value):
        return min(timedelta(seconds=int(value)), MAX_RETRY_AFTER)
    with suppress(ValueError, TypeError):  # a date without a zone is none
        left = parsedate_to_datetime(value) - datetime.now(UTC)
        return max(timedelta(), min(left, MAX_RETRY_AFTER))
    return timedelta()
