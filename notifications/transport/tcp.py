"""TCP socket options: what the kernel buffers for a client, and what the client acknowledged."""

import socket
import struct
import sys
from contextlib import suppress

UNSENT_BYTES = 128 * 1024
"""What the kernel may hold for a client before it has sent it: two chunks.

Without a limit the kernel takes megabytes for each client, and a client that reads nothing is
noticed only after that.
"""

_TCP_INFO = struct.Struct("24xI28xI")  # linux/tcp.h: tcpi_unacked, tcpi_last_ack_recv


def limit_unsent(connection: socket.socket | None) -> None:
    """Set TCP_NOTSENT_LOWAT, if the platform has it."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if connection is not None and option is not None:
        with suppress(OSError):  # a UNIX socket, or a socket that has just been closed
            connection.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)


def is_unresponsive(connection: socket.socket | None, seconds: float) -> bool:
    """Whether bytes are on their way and no acknowledgement has arrived for `seconds` (TCP_INFO).

    That happens when a machine or a network is gone. A client that is there and reads nothing still
    acknowledges. Only Linux can tell; on other systems the answer is False, and the connection ends
    when the kernel gives up on it.
    """
    if connection is None or sys.platform != "linux":
        return False
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        unacknowledged, ms = _TCP_INFO.unpack(info)
    except (OSError, struct.error):
        return False
    return bool(unacknowledged) and ms >= seconds * 1000
