"""The audit: one line for each publication and each denial, in a logger of its own.

A line has the form of all our lines, `publish.accepted by=key:ab12cd34 events=3 …`. Published data
is in none.
"""

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from django.http import HttpRequest

from notifications.errors import Forbidden, Unauthenticated
from notifications.telemetry.logs import EventLogger, request_id

logger = EventLogger(logging.getLogger("carillon.audit"))

UNKNOWN = "unknown"


class Attempt:
    """A request to publish or to subscribe, whose outcome is logged once.

    A denial that is raised in its block is logged, and raised further.
    """

    def __init__(self, request: HttpRequest, verb: str) -> None:
        self._request = request
        self._verb = verb
        self.by = UNKNOWN
        self.topics: Sequence[str] = ()
        self.namespace = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Forbidden | Unauthenticated):
            self.denied(error)

    def accepted(self, *, level: int = logging.INFO, **fields: Any) -> None:
        self._log(level, "accepted", **fields)

    def denied(self, error: Forbidden | Unauthenticated) -> None:
        self._log(logging.WARNING, "denied", reason=error.code, detail=error.detail)

    def _log(self, level: int, outcome: str, **fields: Any) -> None:
        if not logger.isEnabledFor(level):
            return
        event = f"{self._verb}.{outcome}"
        logger.log(
            level,
            event,
            by=self.by,
            namespace=self.namespace or None,
            **fields,
            topics=self.topics,
            request=request_id(self._request),
        )
