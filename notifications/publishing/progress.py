"""Progress of long work, published while the work goes on.

    with progress("imports.42", total=len(rows)) as p:
        for row in rows:
            load(row)
            p.advance()

A thread publishes, so the work neither waits for the log nor fails with it, and a value that
changes a thousand times a second is published a few times.
"""

import asyncio
import secrets
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sized
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, Self

from notifications.conf import namespace as namespaces
from notifications.errors import Unavailable
from notifications.publishing.publisher import publish
from notifications.telemetry.logs import logger
from notifications.topics import parse_topic

PROGRESS_TYPE = "progress"
PROGRESS_EVENTS_PER_SECOND = 4.0
FINAL_EVENT_SECONDS = 5.0
"""How long the end of the work waits, at most, until the log has the final event."""


class ProgressState(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Progress:
    """One piece of work, in any thread. Use it as a context manager, `async` or not.

    Its end is published too: `done`, or `failed` if the block raises.
    """

    def __init__(
        self,
        topic: str,
        *,
        total: float | None = None,
        message: str = "",
        per_second: float = PROGRESS_EVENTS_PER_SECOND,
        final_event_seconds: float = FINAL_EVENT_SECONDS,
        publish: Callable[..., object] = publish,
    ) -> None:
        self.topic = parse_topic(topic)
        self.id = secrets.token_hex(8)
        self.total = total
        self.done: float = 0
        self.message = message
        self._state = ProgressState.RUNNING
        self._pause_seconds = 1 / per_second
        self._final_event_seconds = final_event_seconds
        namespace = namespaces.current()  # here, since a thread of this object's own publishes
        self._publish = partial(publish, namespace=namespace) if namespace else publish
        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._is_unpublished = True
        self._thread = threading.Thread(
            target=self._publish_changes, name="carillon-progress", daemon=True
        )

    def advance(self, by: float = 1, *, message: str | None = None) -> None:
        """Count `by` more as done."""
        self.update(done=self.done + by, message=message)

    def update(
        self,
        *,
        done: float | None = None,
        total: float | None = None,
        message: str | None = None,
    ) -> None:
        """Set the given values. An argument that is left out keeps its value."""
        self.done = self.done if done is None else done
        self.total = self.total if total is None else total
        self.message = self.message if message is None else message
        if not self._is_unpublished:
            with self._changed:
                self._is_unpublished = True
                self._changed.notify()

    def track[T](self, items: Iterable[T]) -> Iterator[T]:
        """Iterate over `items`; an item counts as done when the next one is asked for."""
        if self.total is None and isinstance(items, Sized):
            self.total = len(items)
        for item in items:
            yield item
            self.advance()

    async def atrack[T](self, items: AsyncIterable[T]) -> AsyncIterator[T]:
        """As `track`, for an async iterable."""
        async for item in items:
            yield item
            self.advance()

    @property
    def percent(self) -> float | None:
        """From 0 to 100; None while the total is unknown."""
        if not self.total:
            return None
        return round(max(0.0, min(100.0, 100 * self.done / self.total)), 1)

    def snapshot(self) -> dict[str, Any]:
        """The data of the next event. `rate` is per second, over the whole time."""
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

    # The context manager

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
        # Shielded from cancellation: the wait is bounded, and subscribers would miss the end.
        await asyncio.shield(asyncio.to_thread(self._finish, kind))

    def _finish(self, kind: type[BaseException] | None) -> None:
        with self._changed:
            self._state = ProgressState.DONE if kind is None else ProgressState.FAILED
            self._is_unpublished = True
            self._changed.notify()
        self._thread.join(self._final_event_seconds)

    # The thread

    def _publish_changes(self) -> None:
        number = 0
        is_final = False
        while not is_final:
            with self._changed:
                self._changed.wait_for(lambda: self._is_unpublished)
                self._is_unpublished = False
                is_final = self._state is not ProgressState.RUNNING
                data = self.snapshot()
            number += 1
            self._publish_event(data, f"{self.id}.{number}", is_final=is_final)
            with self._changed:
                self._changed.wait_for(
                    lambda: self._state is not ProgressState.RUNNING, self._pause_seconds
                )

    def _publish_event(self, data: dict[str, Any], key: str, *, is_final: bool) -> None:
        """Publish one event. Only the final one is retried: the next one replaces any other."""
        deadline = time.monotonic() + (self._final_event_seconds if is_final else 0.0)
        while True:
            try:
                self._publish(self.topic, data, type=PROGRESS_TYPE, idempotency_key=key)
            except Unavailable as error:
                if time.monotonic() >= deadline:
                    logger.warning("progress.lost", job=self.id, error=error.detail)
                    return
                time.sleep(self._pause_seconds)
            except Exception:
                logger.exception("progress.failed", job=self.id)
                return
            else:
                return


def progress(
    topic: str,
    *,
    total: float | None = None,
    message: str = "",
    per_second: float = PROGRESS_EVENTS_PER_SECOND,
) -> Progress:
    """Publish how far a piece of work is, a few times a second at most, as `progress` events."""
    return Progress(topic, total=total, message=message, per_second=per_second)
