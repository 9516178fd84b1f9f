"""Listening sockets, and the process's limit on descriptors.

The sockets are bound before anything else starts, so that a port in use is noticed at once. Their
queue is deep, since after a restart all browsers come back together.
"""

import ctypes
import errno
import logging
import socket
import struct
import sys
from contextlib import suppress

from django.core.management.base import CommandError

from notifications.conf import get_settings
from notifications.hub.quotas import descriptor_limit, descriptors_for_streams

logger = logging.getLogger("carillon")

BACKLOG = 4096
SO_ATTACH_FILTER = 26
# A classic BPF program, of (code, jump if true, jump if false, operand), over a TCP header.
DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte that holds the flags
    (0x45, 0, 1, 0x02),  # is SYN set?
    (0x06, 0, 0, 0),  # then drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # or else keep all of it
)
FEW_DESCRIPTORS = 4096
MAX_DESCRIPTORS = 1 << 20
"""Where the system has no limit: larger tables of descriptors would be no help."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that shares its port with no other."""
    listener = _bind(host, port)
    listener.listen(BACKLOG)
    return listener


def listen_shared(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` listening sockets of one port, among which the kernel divides its connections."""
    if count == 1:
        return [listen(host, port)]
    # Sockets that share a port would not notice that another program uses it too, so an unshared
    # one is bound first. It does not listen: clients that connected to it would be reset.
    with _bind(host, port) as claim:
        port = claim.getsockname()[1]
    listeners: list[socket.socket] = []
    try:
        for _ in range(count):
            listeners.append(_bind(host, port, shared=True))
            listeners[-1].listen(BACKLOG)
    except CommandError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
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
                f"Port {port} of {host} is in use: stop the program that uses it, or choose "
                "another port (PORT=8001)."
            ) from None
        raise CommandError(f"Cannot listen on port {port} of {host}: {error}") from None
    return listener


def drop_handshakes(listener: socket.socket) -> None:
    """Drop new handshakes, so that the socket's queue can be served until it is empty.

    A client that connected between the last `accept` and `close` would be reset. A client whose
    SYN is dropped gets no answer and tries again a second later: then it is refused, or reaches
    the next process that listens. Systems other than Linux have no such filter.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(
        b"".join(struct.pack("=HBBI", *instruction) for instruction in DROP_SYN)
    )
    filters = struct.pack("HL", len(DROP_SYN), ctypes.addressof(program))
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filters)


def url_of(listener: socket.socket) -> str:
    """The URL at which a browser on this machine reaches the socket."""
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def raise_descriptor_limit(*, at_most: int = MAX_DESCRIPTORS) -> None:
    """Raise the limit on descriptors to the system's hard limit: each stream is a descriptor.

    Logs a warning if that is few, or too few for `MAX_STREAMS`.
    """
    try:
        import resource
    except ImportError:  # not Unix
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = at_most if hard == resource.RLIM_INFINITY else min(hard, at_most)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a second limit, which it does not report
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    limit = descriptor_limit()
    for_streams = descriptors_for_streams(limit)
    max_streams = get_settings().MAX_STREAMS
    if limit is None or for_streams is None:
        return
    if limit >= FEW_DESCRIPTORS and for_streams >= max_streams:
        return
    logger.warning(
        "descriptors.few limit=%d max_streams=%d: a process holds %d streams and no more; raise "
        "the hard limit (ulimit -Hn, LimitNOFILE=, ulimits: nofile), or lower MAX_STREAMS",
        *(limit, max_streams, for_streams),
    )
