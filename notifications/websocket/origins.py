"""Which pages may open a WebSocket, told before anything else of the handshake is looked at."""

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import OriginValidator, WebsocketDenier
from django.conf import settings as django_settings

from notifications.access.origins import is_allowed
from notifications.asgi.sanitize import readable


class KnownOriginValidator(OriginValidator):  # type: ignore[misc]
    """This site's own (`ALLOWED_HOSTS`), and those of `CORS_ALLOWED_ORIGINS`.

    Unlike Channels' own it lets those in that send no `Origin`: no browser is among them.
    """

    def __init__(self, application: Any) -> None:
        super().__init__(application, django_settings.ALLOWED_HOSTS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        try:
            for name, value in scope["headers"]:
                if name == b"origin":
                    urlsplit(value.decode("latin1"))
        except ValueError:  # which Channels does not expect of it
            return await WebsocketDenier()(scope, receive, send)
        return await super().__call__(readable(scope), receive, send)

    def valid_origin(self, parsed_origin: Any) -> bool:
        if parsed_origin is None or is_allowed(parsed_origin.geturl()):
            return True
        return bool(super().valid_origin(parsed_origin))
