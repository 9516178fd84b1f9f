"""The ASGI application of a project that streams. It takes the place of Django's in `asgi.py`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import django

from notifications.asgi.marker import nonblocking
from notifications.conf import get_settings

if TYPE_CHECKING:
    from notifications.asgi.handler import AsgiMiddleware, CarillonASGIHandler

__all__ = ["get_asgi_application", "nonblocking"]


def get_asgi_application(
    *, request_middleware: "Sequence[AsgiMiddleware]" = ()
) -> "CarillonASGIHandler":
    """Django's `get_asgi_application`, with streams that are handed off and ASGI's `lifespan`.

    `request_middleware` are ASGI middlewares, outermost first, that are called around each HTTP
    request and not around the stream that follows it: for them, the request of a stream ends with
    the headers of its response. A middleware around the returned application lasts as long as the
    stream, and receives whatever is sent to the client. `docs/observability.md` has examples.

    Raises `ImproperlyConfigured` if the setting `CARILLON` is wrong.
    """
    # Only here: it takes 40 ms to import, and `import notifications` imports this package too.
    from notifications.asgi.handler import CarillonASGIHandler

    django.setup(set_prefix=False)
    get_settings()
    return CarillonASGIHandler(request_middleware=request_middleware)
