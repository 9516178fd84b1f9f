"""Control entries: this process ends or rechecks streams at once, and every other one soon.

Code that logs a user out must neither wait for Redis nor fail with it. So this process applies a
control entry itself, and a thread appends it to the log, for as long as that takes. From the log
it reaches every process; the control entries of a batch are applied before its events.
"""

import atexit
import os
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from contextvars import Context
from functools import partial

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction

from notifications.conf import Settings, get_settings
from notifications.conf import namespace as namespaces
from notifications.errors import Invalid, Unavailable
from notifications.hub import runtime
from notifications.hub.grants import topic_subject, user_subject
from notifications.hub.subscribers import CloseReason
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry
from notifications.log.factory import open_sync_log
from notifications.publishing.pending_controls import Pending, PendingControls
from notifications.publishing.uwsgi import threads_run
from notifications.telemetry import audit
from notifications.telemetry.logs import logger
from notifications.topics import parse_topics

FIRST_APPEND_PAUSE_SECONDS, LONGEST_APPEND_PAUSE_SECONDS = 0.1, 5.0
MAX_PENDING = 10_000
EXIT_FLUSH_SECONDS = 2.0
"""How long a process that exits waits for its control entries to reach the log."""
RECHECK_WHEN_SAVED = "_carillon_recheck"
"""The attribute of a session whose streams are rechecked once it is saved."""


def kick(*, user: object | None = None, topic: str | Iterable[str] = ()) -> None:
    """End the streams of a user (or of the user of this primary key) or of some topics, everywhere.

    Their browsers connect again, and are let in if the rules still allow it.
    """
    names = (topic,) if isinstance(topic, str) else tuple(topic)
    subjects = [topic_subject(name) for name in parse_topics(names)] if names else []
    if user is not None:
        subjects.append(_subject_of(user))
    if not subjects:
        raise TypeError("Name a user or a topic to kick.")
    end_streams(*subjects, reason=CloseReason.KICKED)


def recheck(*, user: object | None = None, session: object | None = None) -> None:
    """Ask the rules again about the streams of a user, or of everybody, and end those they deny.

    For changes that Django sends no signal for: a field, an object or a setting that rules depend
    on. Within a transaction this happens when the transaction commits. With `request.session`: once
    that session has been saved, about its streams, for a middleware that chooses the user by what
    the session holds.
    """
    if session is not None:
        setattr(session, RECHECK_WHEN_SAVED, True)
        session.modified = True  # type: ignore[attr-defined]
        return
    recheck_streams_on_commit(EVERYONE if user is None else _subject_of(user))


def _subject_of(user: object) -> str:
    """The subject of a user, or of the user with this primary key, however that is written."""
    pk = getattr(user, "pk", user)
    if pk is None or pk == "":
        raise Invalid("A user without a primary key has no streams of their own.", field="user")
    with suppress(TypeError, ValueError, ValidationError):
        pk = get_user_model()._meta.pk.to_python(pk)  # noqa: SLF001 - documented
    return user_subject(pk)


def end_streams(*subjects: str, reason: CloseReason, topics: Sequence[str] = ()) -> None:
    """End the subjects' streams in every process; with `topics`, only streams that have any."""
    namespace = namespaces.current() if topics else namespaces.current_for(subjects)
    audit.logger.info(
        "streams.ended",
        reason=reason,
        subjects=subjects,
        topics=topics or None,
        namespace=namespace or None,
    )
    entry = ControlEntry(
        ControlAction.END, subjects, reason, topics=tuple(topics), namespace=namespace
    )
    _publisher.send(entry)


def recheck_streams(
    *subjects: str, reason: str = "", namespace: namespaces.Namespace | None = None
) -> None:
    """Recheck, in every process, whether the subjects' streams may go on."""
    if namespace is None:
        namespace = namespaces.current_for(subjects)
    entry = ControlEntry(ControlAction.RECHECK, subjects, reason, namespace=namespace)
    _publisher.send(entry)


def recheck_streams_on_commit(*subjects: str, using: str | None = None, reason: str = "") -> None:
    """Recheck once the change can be read from the database, and never if it is rolled back."""
    namespace = namespaces.current_for(subjects)  # at the commit, it may be another
    send = partial(recheck_streams, *subjects, reason=reason, namespace=namespace)
    transaction.on_commit(send, using=using, robust=True)


def flush(timeout: float) -> bool:
    """Wait until the log has every control entry of this process. False if that took too long."""
    return _publisher.flush(timeout)


def has_pending() -> bool:
    """Whether the log lacks a control entry of this process still."""
    return _publisher.has_pending


def _is_obsolete(pending: Pending) -> bool:
    """Whether every grant has been rechecked since, so that no stream needs the entry."""
    return time.monotonic() - pending.since > pending.settings.GRANT_MAX_AGE


class ControlPublisher:
    """Appends control entries to the log, in their order, and repeats each until it is there.

    What waits meanwhile is appended as few entries: one for each kind of order.
    """

    def __init__(self, *, max_pending: int = MAX_PENDING) -> None:
        self._max_pending = max_pending
        self._changed = threading.Condition()
        self._pending = PendingControls()
        self._thread: threading.Thread | None = None

    def send(self, entry: ControlEntry) -> None:
        """Apply the entry in this process now, and append it soon. Never fails and never waits.

        Where no threads run it waits for the log, for `PUBLISH_TIMEOUT` at most.
        """
        runtime.apply_control(entry)
        settings = get_settings()
        if settings.LOG == "memory":
            open_sync_log(settings).append_control(entry)
            return
        with self._changed:
            if not self._pending.join(entry, settings):
                self._add(entry, settings)
            if threads_run():
                self._start_thread()
                self._changed.notify_all()
        if not threads_run():
            self._append_here()

    def _add(self, entry: ControlEntry, settings: Settings) -> None:
        if len(self._pending) < self._max_pending:
            self._pending.add(entry, settings)
        else:
            # Every grant is rechecked at GRANT_MAX_AGE, also without this entry.
            logger.error("control.dropped", subjects=entry.subjects)

    def flush(self, timeout: float) -> bool:
        """Wait until every entry is in the log. False if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, timeout)

    @property
    def has_pending(self) -> bool:
        return bool(self._pending)

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._append_pending, name="carillon-control", daemon=True
            )
            # Error trackers give a new thread the context of its starter, which is one request.
            Context().run(self._thread.start)

    def _append_here(self) -> None:
        """Append what waits, until the log does not answer: the next call goes on from there."""
        while self._pending:
            first = self._pending.take()
            try:
                open_sync_log(first.settings).append_control(first.entry)
            except Unavailable as error:
                if not _is_obsolete(first):
                    logger.warning(
                        "control.waiting",
                        error=error.detail,
                        hint="uWSGI runs no threads, so the next change in this process sends it. "
                        "Set enable-threads = true.",
                    )
                    return
            self._pending.done()

    def _append_pending(self) -> None:
        pause, unavailable = FIRST_APPEND_PAUSE_SECONDS, False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending)
                first = self._pending.take()
            try:
                open_sync_log(first.settings).append_control(first.entry)
            except Unavailable as error:
                if not _is_obsolete(first):
                    if not unavailable:
                        logger.warning("control.waiting", error=error.detail)
                    unavailable = True
                    with self._changed:
                        self._changed.wait_for(lambda: False, pause)
                    pause = min(2 * pause, LONGEST_APPEND_PAUSE_SECONDS)
                    continue
            pause, unavailable = FIRST_APPEND_PAUSE_SECONDS, False
            with self._changed:
                self._pending.done()
                self._changed.notify_all()


_publisher = ControlPublisher()


def _replace_publisher() -> None:
    """A forked process inherits no thread, and its parent appends the pending entries."""
    global _publisher
    _publisher = ControlPublisher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_publisher)


@atexit.register
def _flush_at_exit() -> None:
    _publisher.flush(EXIT_FLUSH_SECONDS)
