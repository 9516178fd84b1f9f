"""The listening socket: bound by us, before anything else is started, so that a port in use is
found at once, and with a deep queue, since after a restart every browser comes back together."""

import ctypes
import errno
import logging
import socket
import struct
import sys
from contextlib import suppress

from django.core.management.base import CommandError

from notifications.conf import get_settings
from notifications.hub import quotas

BACKLOG = 4096
SO_ATTACH_FILTER = 26
# A classic BPF program, of (code, if true, if false, operand), over a TCP header.
DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x45, 0, 1, 0x02),  # SYN?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # or else take it whole
)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket of its own."""
    listener = _bound(host, port)
    listener.listen(BACKLOG)
    return listener


def listen_together(host: str, port: int, count: int) -> list[socket.socket]:
    """So many listening sockets of one port, which divide its connections evenly."""
    if count == 1:
        return [listen(host, port)]
    # Nobody else's, which sharing would not find out. It does not listen: who connected to it would
    # see a reset.
    with _bound(host, port) as claim:
        port = claim.getsockname()[1]
    listeners: list[socket.socket] = []
    try:
        for _ in range(count):
            listeners.append(_bound(host, port, shared=True))
            listeners[-1].listen(BACKLOG)
    except CommandError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"Port {port} of {host} is in use: end what uses it, or choose another (PORT=8001)."
            ) from None
        raise CommandError(f"Cannot listen on port {port} of {host}: {error}") from None
    return listener


def shut(listener: socket.socket) -> None:
    """Let nobody new into its queue, so that the queue can be served to the end.

    Between the last `accept` and `close` somebody could still connect, and would see a reset. From
    here on a new client hears nothing, asks again a second later, and is refused, or finds who
    listens then. Not on systems without such filters.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(
        b"".join(struct.pack("=HBBI", *each) for each in DROP_SYN)
    )
    filters = struct.pack("HL", len(DROP_SYN), ctypes.addressof(program))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filters)


def address(listener: socket.socket) -> str:
    """The URL at which a browser on this machine finds it."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


# Having as many descriptors as the system allows: each stream is one.


logger = logging.getLogger("carillon")

LOW = 4096
ENOUGH = 1 << 20  # where there is no limit, tables as long as it would be no help


def raise_limit() -> None:
    """To what the system allows without asking. A warning says if that is little, or too little for
    `MAX_STREAMS`."""
    try:
        import resource
    except ImportError:  # not Unix
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has another limit, which it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    allowed, streams = quotas.limit(), quotas.for_streams()
    most = get_settings().MAX_STREAMS
    if allowed is None or streams is None or (allowed >= LOW and streams >= most):
        return
    logger.warning(
        "descriptors.few limit=%d max_streams=%d: a process holds %d streams and no more; raise "
        "the hard limit (ulimit -Hn, LimitNOFILE=, ulimits: nofile), or lower MAX_STREAMS",
        *(allowed, most, streams),
    )
