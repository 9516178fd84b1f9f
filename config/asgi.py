"""The ASGI application: pages and streams by one handler, and the same streams over WebSocket."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter

from notifications.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

http = get_asgi_application()

# Only now, since Django is set up.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.security.websocket import WebsocketDenier  # noqa: E402
from django.urls import re_path  # noqa: E402

from notifications.routing import websocket_urlpatterns  # noqa: E402
from notifications.websocket.origins import KnownOriginValidator  # noqa: E402

# Channels takes a path that leads nowhere for an error of ours, and logs it.
nowhere = re_path("", WebsocketDenier.as_asgi())
routes = URLRouter([*websocket_urlpatterns, nowhere])
websocket = KnownOriginValidator(AuthMiddlewareStack(routes))
application = ProtocolTypeRouter({"http": http, "lifespan": http, "websocket": websocket})
