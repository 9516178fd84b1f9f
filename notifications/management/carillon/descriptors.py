"""Having as many descriptors as the system allows: each stream is one."""

import logging
from contextlib import suppress

from notifications import descriptors
from notifications.conf import get_settings

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
    allowed, streams = descriptors.limit(), descriptors.for_streams()
    most = get_settings().MAX_STREAMS
    if allowed is None or streams is None or (allowed >= LOW and streams >= most):
        return
    logger.warning(
        "descriptors.few limit=%d max_streams=%d: a process holds %d streams and no more; raise "
        "the hard limit (ulimit -Hn, LimitNOFILE=, ulimits: nofile), or lower MAX_STREAMS",
        *(allowed, most, streams),
    )
