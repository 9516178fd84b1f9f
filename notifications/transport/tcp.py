"""TCP socket options: what the kernel buffers for a client, and how long it waits for one."""

import socket
import struct
import sys
from contextlib import suppress

UNSENT_BYTES = 128 * 1024
"""What the kernel may hold for a client before it has sent it: two chunks.

Without a limit the kernel takes megabytes for each client, and a client that reads nothing is
noticed only after that.
"""

_LINGER = struct.Struct("ii")
_TCP_INFO = struct.Struct("120xQ")  # linux/tcp.h, since Linux 4.1: tcpi_bytes_acked


def reset_at_close(connection: socket.socket, *, enabled: bool) -> None:
    """Set SO_LINGER: whether a close drops what is unsent, resets the connection, and frees its
    memory at once."""
    with suppress(OSError):  # closed already; or macOS, once the client has reset the connection
        option = _LINGER.pack(enabled, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)


def limit_unsent(connection: socket.socket | None) -> None:
    """Set TCP_NOTSENT_LOWAT, if the platform has it."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if connection is not None and option is not None:
        with suppress(OSError):  # a UNIX socket, or a socket that has just been closed
            connection.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)


def limit_unacknowledged(connection: socket.socket | None, seconds: float) -> None:
    """Set TCP_USER_TIMEOUT (RFC 5482), if the platform has it.

    The kernel then closes the connection when what was sent has not been acknowledged for so long,
    or could not be sent because the client's window was full for so long. That happens when a
    machine or a network is gone. It costs nothing until then, and no timer of ours.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        with suppress(OSError):  # as above
            connection.setsockopt(socket.IPPROTO_TCP, option, max(1, round(seconds * 1000)))


def acknowledged_bytes(connection: socket.socket) -> int | None:
    """How many bytes of all that was sent the client has acknowledged; None if that is unknown."""
    if sys.platform != "linux":
        return None
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        [acknowledged] = _TCP_INFO.unpack(info)
    except (OSError, struct.error):
        return None
    return int(acknowledged)
