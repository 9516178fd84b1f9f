"""Sends push messages to the push services of browsers, and reads their answers (RFC 8030)."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from notifications.errors import Invalid
from notifications.inbox.delivery.senders import Message, Refused, Sender, Unreachable
from notifications.inbox.push.devices import check_endpoint, devices_to_reach, forget
from notifications.inbox.push.messages import PushMessage, closing, shown

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
MAX_ANSWER_CHARACTERS = 200
SHOWS_ALL = "push.apple.com"
"""Its browsers end the subscription of a site whose messages show nothing, so none says "close"."""


class Failed(Exception):
    """The push service has not taken a message, perhaps for a while only."""


class Gone(Exception):
    """The subscription has ended, and so the device is forgotten."""


class PushSender(Sender):
    """Keeps its connections until it is closed."""

    def __init__(self) -> None:
        self._client: httpx.Client | None = None
        self._encryption: Encryption | None = None
        self._away: set[str] = set()
        """The push services that have not answered, and are not asked again for now."""

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
            except (Failed, Refused) as error:
                faults.append(error)
            else:
                message.reached.append(device.pk.hex)
        passing = [fault for fault in faults if isinstance(fault, Failed)]
        if passing:
            raise passing[0]
        if not message.reached:
            raise faults[0] if faults else Unreachable

    def take_back(self, messages: Sequence[Message]) -> bool:
        faults, has_disappeared = list[Exception](), False
        for device, some in self._where_shown(messages):
            try:
                self._post(device, closing(some), some[0].using)
                has_disappeared = True
            except Failed as error:
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
        self._away.clear()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _post(self, device: "Device", push: PushMessage, using: str) -> None:
        """Raises `Gone`, `Refused` and `Failed`."""
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
            raise Failed(f"{url.netloc} has not answered a moment ago.")
        try:
            answer = self._client.post(
                device.endpoint, content=content, headers={**push.headers(), **headers}
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self._away.add(url.netloc)
            raise Failed(f"{url.netloc}: {error!r}") from error
        if answer.status_code in GONE:
            forget([device.pk], using)
            raise Gone
        if not answer.is_success:
            words = f"{url.netloc}: {answer.status_code} {answer.text[:MAX_ANSWER_CHARACTERS]}"
            is_passing = answer.is_server_error or answer.status_code in PASSING
            raise Failed(words) if is_passing else Refused(words)
