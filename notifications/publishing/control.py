"""Telling every process that streams may have to end: in the log, and behind nobody's back.

Whoever logs somebody out must not wait for Redis, nor fail with it. So this process acts at once,
and the control entry follows from a thread, for as long as it takes.
"""

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction

from notifications.conf import Settings, get_settings
from notifications.errors import Unavailable
from notifications.hub import runtime
from notifications.hub.grants import topic_subject, user_subject
from notifications.hub.subscribers import CloseReason
from notifications.log.base import EVERYONE, Control, Order
from notifications.log.factory import appender
from notifications.telemetry import audit
from notifications.topics import topics as check_topics

logger = logging.getLogger("carillon")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
MAX_WAITING = 10_000
PARTING = 2.0
"""How long a process that ends waits for what it has to say."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    control: Control
    settings: Settings
    since: float

    @property
    def is_old(self) -> bool:
        """Whether everybody has been asked again meanwhile, so that nobody waits for it."""
        return time.monotonic() - self.since > self.settings.GRANT_MAX_AGE


class ControlPublisher:
    """Puts control entries into the log, in their order, until each of them is there."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._thread: threading.Thread | None = None

    def send(self, control: Control) -> None:
        """At once here, and soon everywhere. Never fails, and never waits."""
        runtime.order(control)
        settings = get_settings()
        if settings.LOG == "memory":
            appender(settings).command(control)
            return
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                # Every grant is asked about again when it is old, whatever is lost here.
                logger.error("control.dropped subjects=%s", ",".join(control.subjects))
                return
            self._waiting.append(_Waiting(control, settings, time.monotonic()))
            self._start()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until everything is in the log. False if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name="carillon-messenger", daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        pause, away = FIRST_PAUSE, False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                waiting = self._waiting[0]
            try:
                appender(waiting.settings).command(waiting.control)
            except Unavailable as error:
                if not waiting.is_old:
                    if not away:
                        logger.warning("control.waiting error=%r", error.detail)
                    away = True
                    with self._changed:
                        self._changed.wait_for(lambda: False, pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
            pause, away = FIRST_PAUSE, False
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()


_publisher = ControlPublisher()


def _begin_anew() -> None:
    """A process that was forked has no thread, and what waits is for its parent to say."""
    global _publisher
    _publisher = ControlPublisher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@atexit.register
def _part() -> None:
    _publisher.flush(PARTING)


def flush(timeout: float) -> bool:
    """Wait until the log has every control entry of this process. False if that took too long."""
    return _publisher.flush(timeout)


def end(*subjects: str, reason: CloseReason, topics: Sequence[str] = ()) -> None:
    """End the streams of these subjects, in every process; with `topics`, those that have any."""
    named = {"topics": topics} if topics else {}
    audit.tell(logging.INFO, "streams.ended", reason=reason, subjects=subjects, **named)
    _publisher.send(Control(Order.END, subjects, reason, topics=tuple(topics)))


def ask_again(*subjects: str) -> None:
    """Ask, in every process, whether the streams of these subjects may go on."""
    _publisher.send(Control(Order.RECHECK, subjects, ""))


def ask_again_on_commit(*subjects: str, using: str | None = None) -> None:
    """Once what changed can be read; never if it is rolled back."""
    transaction.on_commit(lambda: ask_again(*subjects), using=using, robust=True)


def kick(*, user: object | None = None, topic: str | Iterable[str] = ()) -> None:
    """End the streams of a user (or of the user of this primary key) or of some topics, everywhere.

    Their browsers come back, and are let in if the rules still allow it.
    """
    named = (topic,) if isinstance(topic, str) else tuple(topic)
    subjects = [topic_subject(each) for each in check_topics(named)] if named else []
    if user is not None:
        subjects.append(_subject(user))
    if not subjects:
        raise TypeError("Name a user or a topic to kick.")
    end(*subjects, reason=CloseReason.KICKED)


def recheck(*, user: object | None = None) -> None:
    """Ask the rules again about the streams of a user, or of everybody; those they deny end.

    For what Django does not tell by itself: a field, an object or a setting that rules depend on.
    Within a transaction this happens when it commits.
    """
    ask_again_on_commit(EVERYONE if user is None else _subject(user))


def _subject(user: object) -> str:
    return user_subject(getattr(user, "pk", user))
