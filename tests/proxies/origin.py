"""What is behind the proxies: a site of which one process may be lost, and keys may be made."""

from collections.abc import Callable
from pathlib import Path

from tests.browser.conftest import Site
from tests.harness.servers import WebServer, manage


class Origin(Site):
    def __init__(self, start: Callable[[int], WebServer], redis_url: str, folder: Path) -> None:
        super().__init__(start)
        self._redis_url = redis_url
        self._folder = folder

    def make_key(self, pattern: str) -> str:
        """Of an API key that may hear and publish what that covers."""
        words = ["keys", "create", pattern, "--subscribe", pattern, "--publish", pattern]
        said = manage("carillon", *words, redis_url=self._redis_url, folder=self._folder)
        return said.split()[-1]
