"""The site behind the proxies, one process of which a test may kill, and which issues keys."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.browser.conftest import Site
from tests.harness.servers import WebServer, manage


class Origin(Site):
    def __init__(self, start: Callable[[int], WebServer], redis_url: str, folder: Path) -> None:
        super().__init__(start, partial(manage, redis_url=redis_url, folder=folder))

    def make_key(self, pattern: str) -> str:
        """The text of a new API key that may subscribe to and publish this pattern."""
        words = ["keys", "create", pattern, "--subscribe", pattern, "--publish", pattern]
        return self._manage("carillon", *words).split()[-1]
