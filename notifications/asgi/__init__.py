"""The ASGI application of a project that streams. It takes the place of Django's in `asgi.py`."""

from typing import TYPE_CHECKING

import django

from notifications.asgi.marker import nonblocking
from notifications.conf import get_settings

if TYPE_CHECKING:
    from notifications.asgi.handler import CarillonASGIHandler

__all__ = ["get_asgi_application", "nonblocking"]


def get_asgi_application() -> "CarillonASGIHandler":
    """Django's `get_asgi_application`, with streams that are handed off and ASGI's `lifespan`.

    Raises `ImproperlyConfigured` if the setting `CARILLON` is wrong.
    """
    # Only here: it takes 40 ms to import, and `import notifications` imports this package too.
    from notifications.asgi.handler import CarillonASGIHandler

    django.setup(set_prefix=False)
    get_settings()
    return CarillonASGIHandler()
