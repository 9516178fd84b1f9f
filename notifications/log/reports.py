"""Reports: what each process says of itself, for whoever operates the site. Pure code.

A report is a key of its own that expires. Another key has the names of the processes that may have
one, the newest last.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from notifications.log.script import Command, Keys

FORGET_PROCESSES_SECONDS = 24 * 3600


class ReportBoard(ABC):
    """Where processes write reports."""

    @abstractmethod
    async def report(self, process: str, text: str, *, at: float, seconds: float) -> None:
        """Replace the report of this process, and keep it for so many seconds.

        `at`: the time, in seconds since 1970. Raises `Unavailable`.
        """


class ReportReader(ABC):
    """Where they are read."""

    @abstractmethod
    def reports(self) -> list[str]:
        """What each process has reported last. Raises `Unavailable`."""


def write_commands(
    keys: Keys, process: str, text: str, *, at: float, seconds: float
) -> list[Command]:
    return [
        ["SET", keys.report(process), text, "PX", int(seconds * 1000)],
        ["ZADD", keys.reports, at, process],
    ]


def forget_command(keys: Keys, *, at: float) -> Command:
    """Forget the names of processes that have not reported for long."""
    return ["ZREMRANGEBYSCORE", keys.reports, "-inf", at - FORGET_PROCESSES_SECONDS]


def names_command(keys: Keys) -> Command:
    return ["ZRANGE", keys.reports, 0, -1]


def read_command(keys: Keys, names: Sequence[bytes]) -> Command:
    return ["MGET", *(keys.report(name.decode()) for name in names)]


def read_texts(reply: Sequence[Any]) -> list[str]:
    return [text.decode() for text in reply if text is not None]


class ReportsInMemory:
    """The reports of the log in memory, from any thread."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._texts: dict[str, tuple[str, float]] = {}

    def write(self, process: str, text: str, *, seconds: float) -> None:
        self._texts[process] = text, self._clock() + seconds

    def read(self) -> list[str]:
        now = self._clock()
        return [text for text, deadline in list(self._texts.values()) if deadline > now]
