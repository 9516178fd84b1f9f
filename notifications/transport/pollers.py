"""The poller of each event loop of this process."""

import asyncio
import os
import select

from notifications.transport.poller import EpollPoller, Poller, SelectorPoller

PLATFORM_POLLER: type[Poller] = EpollPoller if hasattr(select, "epoll") else SelectorPoller

_pollers: dict[asyncio.AbstractEventLoop, Poller] = {}


def poller() -> Poller:
    """The poller of the running event loop, which is made if there is none."""
    loop = asyncio.get_running_loop()
    found = _pollers.get(loop)
    if found is None:
        _abandon([other for other in list(_pollers) if other.is_closed()])
        found = _pollers[loop] = PLATFORM_POLLER(loop)
    return found


def _abandon(loops: list[asyncio.AbstractEventLoop]) -> None:
    for loop in loops:
        found = _pollers.pop(loop, None)  # None: another thread has found it too
        if found is not None:
            found.abandon()


# A connection ends only when every process has closed it. So a child that a process forks keeps no
# copy of a stream's socket, or the client of a stream that was aborted would wait for the child.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _abandon(list(_pollers)))


def are_sending() -> bool:
    """Whether any stream of the running event loop has something left to send, or is open."""
    found = _pollers.get(asyncio.get_running_loop())
    return found is not None and len(found) > found.lingering


async def close_sockets() -> None:
    """The process stops: wait a moment for clients that still read, and close what lingers."""
    found = _pollers.get(asyncio.get_running_loop())
    if found is not None:
        await found.finish()
