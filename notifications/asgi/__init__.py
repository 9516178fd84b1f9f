"""The ASGI application of a project that streams: in its `asgi.py`, in place of Django's own."""

import django

from notifications.asgi.handler import CarillonASGIHandler
from notifications.conf import get_settings


def get_asgi_application() -> CarillonASGIHandler:
    """As `django.core.asgi.get_asgi_application`, with streams handed off.

    It also answers ASGI's `lifespan`. Raises `ImproperlyConfigured` where `CARILLON` is wrong.
    """
    django.setup(set_prefix=False)
    get_settings()
    return CarillonASGIHandler()
