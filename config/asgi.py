"""The ASGI application: streams and pages by one handler, lifespan where the server speaks it."""

import os

from channels.routing import ProtocolTypeRouter

from notifications.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

http = get_asgi_application()
application = ProtocolTypeRouter({"http": http, "lifespan": http})
