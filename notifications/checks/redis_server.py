"""Checks that ask the Redis that keeps the log: only with `check --deploy`.

A server that refuses is an error. One that cannot be reached is a warning, because a check may run
where the network does not reach it.
"""

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning
from redis.exceptions import AuthenticationError, BusyLoadingError, MasterDownError, ResponseError

from notifications.checks.base import TAG, valid_settings
from notifications.log import script
from notifications.log.connections import SyncConnection, sync_maker
from notifications.log.discovery import discovery_of
from notifications.log.layout import NOTHING_KEPT
from notifications.log.outcomes import LOG_MOVED_ERRORS, REDIRECTED_ERRORS, UNAVAILABLE_ERRORS

TIMEOUT_SECONDS = 1.0
OLDEST_VERSION = 6, 2
PASSING_ERRORS = (BusyLoadingError, MasterDownError, *LOG_MOVED_ERRORS, *REDIRECTED_ERRORS)
"""What a server replies for a while."""


@dataclass
class Answer:
    """What the server said: why it is of no use, or its policy when its memory is full.

    Without an answer, `fault` is why.
    """

    refusal: str | None = None
    policy: str | None = None
    fault: str | None = None


@register(TAG, deploy=True)
def redis_keeps_the_log(**_: Any) -> list[CheckMessage]:
    """carillon.E006, carillon.W006, carillon.W017"""
    settings = valid_settings()
    if settings is None or settings.LOG != "redis" or settings.REDIS_URL is None:
        return []
    answer = _ask(settings.REDIS_URL, settings.KEY_PREFIX)
    if answer.refusal:
        return [
            Error(
                f"The Redis at CARILLON['REDIS_URL'] cannot keep the log: {answer.refusal}.",
                hint="Carillon needs Redis 6.2 or newer, or Valkey, and a user with the "
                "permissions in docs/run.md (Redis).",
                id="carillon.E006",
            )
        ]
    if answer.fault:
        return [
            CheckWarning(
                f"The Redis at CARILLON['REDIS_URL'] cannot be reached: {answer.fault}.",
                hint="Start it, or correct the address. Silence this check where it runs apart "
                "from the network of the site.",
                id="carillon.W017",
            )
        ]
    risk = script.eviction_risk(answer.policy)
    if risk is None:
        return []
    return [
        CheckWarning(
            f"The maxmemory-policy of the Redis at CARILLON['REDIS_URL'] is {answer.policy!r}: "
            f"when its memory is full, {risk}.",
            hint="Set maxmemory-policy to noeviction there, or use another Redis for the log.",
            id="carillon.W006",
        )
    ]


def _ask(url: str, prefix: str) -> Answer:
    """The query runs in a thread, since nothing else limits how long a name takes to resolve."""
    seconds = 2 * TIMEOUT_SECONDS
    answer = Answer(fault=f"it did not answer within {seconds:g} seconds")
    thread = threading.Thread(target=_query, args=(url, prefix, answer), daemon=True)
    thread.start()
    thread.join(seconds)
    return answer


def _query(url: str, prefix: str, answer: Answer) -> None:
    keys = script.Keys(prefix)
    connection = sync_maker(
        url,
        discovery_of(url, keys.stream),
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
    )()
    try:
        connection.connect()
        _roundtrip(connection, script.as_eval(script.canary(keys, "check")))
        answer.fault = None
        with suppress(ResponseError):  # A hosted Redis may not allow INFO.
            info = _roundtrip(connection, ["INFO"])
            answer.policy = script.info_value(info, "maxmemory_policy")
            answer.refusal = _too_old(script.info_value(info, "redis_version") or "")
    except UNAVAILABLE_ERRORS as error:
        reason = str(error).removesuffix(NOTHING_KEPT).rstrip(".")
        if _is_refusal(error):
            answer.refusal = reason
        elif isinstance(error, PASSING_ERRORS):
            answer.fault = None
        else:
            answer.fault = reason
    finally:
        connection.disconnect()


def _too_old(version: str) -> str | None:
    """Why this version cannot keep the log. Valkey's is that of the Redis it is compatible with."""
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) >= OLDEST_VERSION:
        return None
    return f"it is Redis {version}"


def _roundtrip(connection: SyncConnection, command: script.Command) -> Any:
    connection.send_command(*command)
    return connection.read_response()


def _is_refusal(error: BaseException) -> bool:
    """Whether this is the server's answer, or what TLS makes of it."""
    if isinstance(error, PASSING_ERRORS):
        return False
    return isinstance(error, (ResponseError, AuthenticationError)) or any(
        isinstance(cause, (ssl.SSLError, FileNotFoundError)) for cause in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
