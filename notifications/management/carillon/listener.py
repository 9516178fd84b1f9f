"""The listening socket: bound by us, before anything else is started, so that a port in use is
found at once, and with a deep queue, since after a restart every browser comes back together."""

import errno
import socket

from django.core.management.base import CommandError

BACKLOG = 4096


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A listening socket. Those of one port that are `shared` divide its connections evenly."""
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=shared)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} of {host} is in use: end what uses it, or choose another (PORT=8001)."
            ) from None
        raise CommandError(f"Cannot listen on port {port} of {host}: {error}") from None


def address(listener: socket.socket) -> str:
    """The URL at which a browser on this machine finds it."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
