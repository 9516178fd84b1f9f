"""The origins whose pages may open a WebSocket, checked before the rest of the handshake."""

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import OriginValidator, WebsocketDenier
from django.conf import settings as django_settings
from django.core.handlers.asgi import get_script_prefix

from notifications.access.origins import is_allowed_origin
from notifications.asgi.routes import path_info
from notifications.asgi.sanitize import sanitized_scope


class KnownOriginValidator(OriginValidator):  # type: ignore[misc]
    """Allows this site's origins (`ALLOWED_HOSTS`) and those in `CORS_ALLOWED_ORIGINS`.

    Unlike Channels' `AllowedHostsOriginValidator`, it admits clients that send no `Origin`:
    browsers always send one.
    """

    def __init__(self, application: Any) -> None:
        super().__init__(application, django_settings.ALLOWED_HOSTS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        try:
            for name, value in scope["headers"]:
                if name == b"origin":
                    urlsplit(value.decode("latin1"))
        except ValueError:  # Channels does not catch the error that it would get from `urlparse`
            return await WebsocketDenier()(scope, receive, send)
        return await super().__call__(_below_prefix(sanitized_scope(scope)), receive, send)

    def valid_origin(self, parsed_origin: Any) -> bool:
        if parsed_origin is None or is_allowed_origin(parsed_origin.geturl()):
            return True
        return bool(super().valid_origin(parsed_origin))


def _below_prefix(scope: Any) -> Any:
    """The scope with the site's sub-path in `root_path` and at the beginning of `path`.

    Channels' `URLRouter` requires both, and does not know `FORCE_SCRIPT_NAME`. Django takes the
    path with the prefix or, from a proxy that strips it, without.
    """
    prefix = get_script_prefix(scope).rstrip("/")
    path = f"{prefix}{path_info(scope['path'], prefix)}"
    return {**scope, "path": path, "root_path": prefix} if prefix else scope
