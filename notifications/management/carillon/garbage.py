"""Garbage in cycles, looked for seldom: many streams are a million objects, and few cycles."""

import gc

YOUNG, MIDDLE, OLD = 10_000, 10, 100
"""Some five times Python's own. The first two bound how long a collection holds the event loop."""


def collect_seldom() -> None:
    """From here on. What exists by now, all of Django, is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
