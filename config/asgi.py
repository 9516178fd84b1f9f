"""The ASGI application: one handler for pages and streams, and the same streams over WebSocket."""

import os

from channels.routing import ProtocolTypeRouter, URLRouter

from notifications.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

http = get_asgi_application()

# These imports need Django to be set up.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.security.websocket import WebsocketDenier  # noqa: E402
from django.urls import re_path  # noqa: E402

from notifications.routing import websocket_urlpatterns  # noqa: E402
from notifications.websocket.origins import KnownOriginValidator  # noqa: E402

# Without a route for all other paths, Channels would log each of them as an error.
unknown_path = re_path("", WebsocketDenier.as_asgi())
routes = URLRouter([*websocket_urlpatterns, unknown_path])
websocket = KnownOriginValidator(AuthMiddlewareStack(routes))
application = ProtocolTypeRouter({"http": http, "lifespan": http, "websocket": websocket})
