"""How many descriptors this process may open: each stream is one."""

import logging
from contextlib import suppress

logger = logging.getLogger("carillon")

LOW = 4096
ENOUGH = 1 << 20  # where there is no limit, tables as long as it would be no help


def raise_limit() -> None:
    """To what the system allows without asking. A warning says if that is little."""
    try:
        import resource
    except ImportError:  # not Unix
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has another limit, which it does not tell
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < LOW:
        logger.warning(
            "descriptors.few limit=%d: a process holds fewer streams than that; raise the hard "
            "limit (ulimit -Hn, LimitNOFILE=, ulimits: nofile)",
            soft,
        )
