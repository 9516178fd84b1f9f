"""Opens the log that the settings name."""

from collections.abc import Callable
from functools import cache, partial

from notifications.conf import Settings
from notifications.log import embedded
from notifications.log.base import Log, SyncLog
from notifications.log.entries import Retention
from notifications.log.memory import MemoryLog, MemoryStore, MemorySyncLog
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisSyncLog
from notifications.telemetry.logs import logger

REVOCATION_MARGIN_SECONDS = 60.0
"""Clocks of different machines do not run at the same speed."""


def retention(settings: Settings) -> Retention:
    return Retention(
        events=settings.HISTORY_EVENTS,
        bytes=settings.HISTORY_BYTES,
        age=settings.HISTORY_AGE,
        idempotency_age=settings.IDEMPOTENCY_AGE,
        # A grant is held for twice its age while the database is away.
        revocation_age=2 * settings.GRANT_MAX_AGE
        + settings.CONTINUE_AGE
        + REVOCATION_MARGIN_SECONDS,
    )


def open_log(settings: Settings) -> Log:
    """A new instance of the log, for one event loop."""
    if settings.LOG == "memory":
        return MemoryLog(memory_store(settings))
    return _open_redis(partial(RedisLog, idle_check=settings.REDIS_IDLE_CHECK), settings)


@cache
def open_sync_log(settings: Settings) -> SyncLog:
    """The log for synchronous code: one instance per process for each value of the settings."""
    if settings.LOG == "memory":
        return MemorySyncLog(memory_store(settings))
    return _open_redis(RedisSyncLog, settings)


@cache
def open_relay_log(settings: Settings) -> SyncLog:
    """As `open_sync_log`, but this log remembers keys for `OUTBOX_KEY_AGE` unless it releases them.

    The relay releases a key once the outbox row is gone.
    """
    if settings.LOG == "memory":
        return open_sync_log(settings)
    return open_sync_log(settings.model_copy(update={"IDEMPOTENCY_AGE": settings.OUTBOX_KEY_AGE}))


def _open_redis[T](log_class: Callable[..., T], settings: Settings) -> T:
    return log_class(
        _url(settings),
        prefix=settings.KEY_PREFIX,
        retention=retention(settings),
        timeout=settings.PUBLISH_TIMEOUT,
        replicas=settings.WAIT_REPLICAS,
        max_connections=settings.REDIS_CONNECTIONS,
    )


def _url(settings: Settings) -> str:
    if settings.LOG == "embedded":
        assert settings.DATA_DIR is not None
        return embedded.url(settings.DATA_DIR)
    assert settings.REDIS_URL is not None
    return settings.REDIS_URL


_stores: dict[Settings, MemoryStore] = {}


def memory_store(settings: Settings, *, quiet: bool = False) -> MemoryStore:
    """This process's store for these settings. Creating it logs a warning, unless `quiet`."""
    if settings not in _stores:
        if not quiet:
            logger.warning(
                "log.memory",
                hint="events are kept in this process only, and are lost when it ends: other "
                "processes neither see them nor are seen. Set CARILLON['REDIS_URL'] for more.",
            )
        _stores.setdefault(settings, MemoryStore(retention(settings)))
    return _stores[settings]


def clear_memory() -> None:
    """Empty every log that this process has in memory, as between two tests."""
    for store in list(_stores.values()):
        store.clear()
