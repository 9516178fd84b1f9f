"""Which log the settings name."""

import logging
from collections.abc import Callable
from functools import cache

from notifications.conf import Settings
from notifications.log import embedded
from notifications.log.base import Appender, Log, Retention
from notifications.log.memory import MemoryAppender, MemoryLog, MemoryStore
from notifications.log.redis import RedisLog
from notifications.log.redis_sync import RedisAppender

logger = logging.getLogger("carillon")


def retention(settings: Settings) -> Retention:
    return Retention(
        events=settings.HISTORY_EVENTS,
        bytes=settings.HISTORY_BYTES,
        age=settings.HISTORY_AGE,
        idempotency_age=settings.IDEMPOTENCY_AGE,
    )


def open_log(settings: Settings) -> Log:
    if settings.LOG == "memory":
        return MemoryLog(memory_store(settings))
    return _in_redis(RedisLog, settings)


@cache
def appender(settings: Settings) -> Appender:
    """The one of this process. Settings are values, so others get others."""
    if settings.LOG == "memory":
        return MemoryAppender(memory_store(settings))
    return _in_redis(RedisAppender, settings)


@cache
def relay_appender(settings: Settings) -> Appender:
    """As `appender`, and it has keys remembered for `OUTBOX_KEY_AGE`, unless they are released."""
    if settings.LOG == "memory":
        return appender(settings)
    return appender(settings.model_copy(update={"IDEMPOTENCY_AGE": settings.OUTBOX_KEY_AGE}))


def _in_redis[T](kind: Callable[..., T], settings: Settings) -> T:
    return kind(
        _url(settings),
        prefix=settings.KEY_PREFIX,
        retention=retention(settings),
        timeout=settings.PUBLISH_TIMEOUT,
        replicas=settings.WAIT_REPLICAS,
    )


def _url(settings: Settings) -> str:
    if settings.LOG == "embedded":
        assert settings.DATA_DIR is not None
        return embedded.url(settings.DATA_DIR)
    assert settings.REDIS_URL is not None
    return settings.REDIS_URL


_stores: dict[Settings, MemoryStore] = {}


def memory_store(settings: Settings, *, quiet: bool = False) -> MemoryStore:
    """The one of this process for these settings. Making it is warned of, unless `quiet`."""
    if settings not in _stores:
        if not quiet:
            logger.warning(
                "log.memory: events are kept in this process only, and are lost when it ends: "
                "other processes neither see them nor are seen. Set CARILLON['REDIS_URL'] for more."
            )
        _stores.setdefault(settings, MemoryStore(retention(settings)))
    return _stores[settings]


def clear_memory() -> None:
    """Empty every log that this process has in memory, as between two tests."""
    for store in list(_stores.values()):
        store.clear()
