"""What this process uses of its machine, as Linux tells it without a walk through a folder.

NaN stands for a number that the system does not tell.
"""

import os
from math import nan
from pathlib import Path


def resident_bytes() -> float:
    """The memory of this process that is in RAM."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return nan
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def open_descriptors() -> float:
    """The number of open descriptors, which Linux tells in one step since 6.2.

    To list them takes 13 ms of the event loop for 15,000 streams.
    """
    try:
        return Path("/proc/self/fd").stat().st_size or nan
    except OSError:
        return nan
