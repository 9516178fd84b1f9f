"""What `serve` asks of the kernel: many descriptors, and at its end no more handshakes."""

import ctypes
import socket
import struct
import sys
from contextlib import suppress

from notifications.conf import get_settings
from notifications.hub.quotas import descriptor_limit, descriptors_for_streams
from notifications.telemetry.logs import logger

FEW_DESCRIPTORS = 4096
MAX_DESCRIPTORS = 1 << 20
"""Where the system has no limit: larger tables of descriptors would be no help."""
SO_ATTACH_FILTER = 26
# A classic BPF program, of (code, jump if true, jump if false, operand), over a TCP header.
DROP_SYN = (
    (0x30, 0, 0, 13),  # load the byte that holds the flags
    (0x45, 0, 1, 0x02),  # is SYN set?
    (0x06, 0, 0, 0),  # then drop the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # or else keep all of it
)


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
        "descriptors.few",
        limit=limit,
        max_streams=max_streams,
        streams=for_streams,
        hint="a process holds that many streams and no more; raise the hard limit (ulimit -Hn, "
        "LimitNOFILE=, ulimits: nofile), or lower MAX_STREAMS",
    )


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
