"""What the kernel is asked to do for a connection, and what it knows of the other end."""

import socket
import struct
import sys
from contextlib import suppress

NOT_SENT = 128 * 1024
"""Bytes that the kernel takes for a client before it has sent them: two chunks.

By itself it takes megabytes for each, and a client that reads nothing is noticed only then.
"""

_TCP_INFO = struct.Struct("24xI28xI")  # linux/tcp.h: tcpi_unacked, tcpi_last_ack_recv


def hold_little(connection: socket.socket | None) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if connection is not None and option is not None:
        with suppress(OSError):  # a UNIX socket, or one that has just been closed
            connection.setsockopt(socket.IPPROTO_TCP, option, NOT_SENT)


def unanswered(connection: socket.socket | None, seconds: float) -> bool:
    """Whether something is on its way, and not a word has come back for that long.

    So it is when a machine or a network is gone. One that is there and reads nothing answers. Only
    Linux tells; elsewhere it says no, and such a peer is dropped when the kernel gives up.
    """
    if connection is None or sys.platform != "linux":
        return False
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        under_way, ms = _TCP_INFO.unpack(info)
    except (OSError, struct.error):
        return False
    return bool(under_way) and ms >= seconds * 1000
