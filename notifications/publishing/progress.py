"""Progress of long work, published as it goes.

    with progress("imports.42", total=len(rows)) as p:
        for row in rows:
            load(row)
            p.advance()

Publishing is a thread's: the work never waits for the log, nor fails with it, and what changes a
thousand times a second is published a few times.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from notifications.errors import Unavailable
from notifications.publishing.publisher import publish
from notifications.topics import topic as check_topic

logger = logging.getLogger("carillon")

TYPE = "progress"


class State(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


PER_SECOND = 4.0
PARTING = 5.0
"""How long the end of the work waits for its last word to be kept, at most."""


class Progress:
    """One piece of work, in any thread. Use it as a context manager, `async` or not.

    Its end is told too: `done`, or `failed` where the block raises.
    """

    def __init__(
        self,
        topic: str,
        *,
        total: float | None = None,
        message: str = "",
        per_second: float = PER_SECOND,
    ) -> None:
        self.topic = check_topic(topic)
        self.id = secrets.token_hex(8)
        self.total = total
        self.done: float = 0
        self.message = message
        self._state = State.RUNNING
        self._pause = 1 / per_second
        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._is_news = True
        self._thread = threading.Thread(target=self._work, name="carillon-progress", daemon=True)

    def advance(self, by: float = 1, *, message: str | None = None) -> None:
        """So much more is done."""
        self.update(done=self.done + by, message=message)

    def update(
        self,
        *,
        done: float | None = None,
        total: float | None = None,
        message: str | None = None,
    ) -> None:
        """It is so far. What is not given stays as it is."""
        self.done = self.done if done is None else done
        self.total = self.total if total is None else total
        self.message = self.message if message is None else message
        if not self._is_news:
            with self._changed:
                self._is_news = True
                self._changed.notify()

    def track[T](self, items: Iterable[T]) -> Iterator[T]:
        """Each of the items; one more is done when the next is asked for."""
        if self.total is None and isinstance(items, Sized):
            self.total = len(items)
        for item in items:
            yield item
            self.advance()

    async def atrack[T](self, items: AsyncIterable[T]) -> AsyncIterator[T]:
        """As `track`."""
        async for item in items:
            yield item
            self.advance()

    @property
    def percent(self) -> float | None:
        """From 0 to 100, where it is known how much there is."""
        if not self.total:
            return None
        return round(max(0.0, min(100.0, 100 * self.done / self.total)), 1)

    def snapshot(self) -> dict[str, Any]:
        """What is published: `rate` is per second, over all the time."""
        elapsed = time.monotonic() - self._began
        return {
            "job": self.id,
            "state": self._state,
            "done": self.done,
            "total": self.total,
            "percent": self.percent,
            "rate": round(self.done / elapsed, 3) if elapsed > 0 else 0.0,
            "seconds": round(elapsed, 1),
            "message": self.message,
        }

    # The block

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish(kind)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Not to be cancelled: it is bounded, and would leave the work unfinished for all who look.
        await asyncio.shield(asyncio.to_thread(self._finish, kind))

    def _finish(self, kind: type[BaseException] | None) -> None:
        with self._changed:
            self._state = State.DONE if kind is None else State.FAILED
            self._is_news = True
            self._changed.notify()
        self._thread.join(PARTING)

    # The thread

    def _work(self) -> None:
        key = 0
        over = False
        while not over:
            with self._changed:
                self._changed.wait_for(lambda: self._is_news)
                self._is_news = False
                over = self._state is not State.RUNNING
                said = self.snapshot()
            key += 1
            self._publish(said, f"{self.id}.{key}", last=over)
            with self._changed:
                self._changed.wait_for(lambda: self._state is not State.RUNNING, self._pause)

    def _publish(self, said: dict[str, Any], key: str, *, last: bool) -> None:
        """What comes next makes good for what is lost, but nothing comes after the last."""
        deadline = time.monotonic() + (PARTING if last else 0.0)
        while True:
            try:
                publish(self.topic, said, type=TYPE, idempotency_key=key)
            except Unavailable as error:
                if time.monotonic() >= deadline:
                    logger.warning("progress.lost job=%s error=%r", self.id, error.detail)
                    return
                time.sleep(self._pause)
            except Exception:
                logger.exception("progress.failed job=%s", self.id)
                return
            else:
                return


def progress(
    topic: str,
    *,
    total: float | None = None,
    message: str = "",
    per_second: float = PER_SECOND,
) -> Progress:
    """Publish how far a piece of work is, a few times a second at most, as `progress` events."""
    return Progress(topic, total=total, message=message, per_second=per_second)
