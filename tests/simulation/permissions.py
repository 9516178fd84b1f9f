"""The database that knows who may subscribe to what."""

import asyncio
from collections.abc import Callable

from django.db import OperationalError

from tests.simulation.world import World

QUERY_SECONDS = 0.0005, 0.05


class Permissions:
    def __init__(self, world: World) -> None:
        self.is_away = False
        self.denied: set[str] = set()
        """The users who may have nothing."""
        self.when_asked: dict[str, Callable[[], None]] = {}
        """What happens once, between the answer about a user and its arrival."""
        self._random = world.random("permissions")

    async def ask(self, user: str, topics: frozenset[str]) -> frozenset[str]:
        await asyncio.sleep(self._random.uniform(*QUERY_SECONDS))
        if self.is_away:
            raise OperationalError("The database is away.")
        allowed = frozenset[str]() if user in self.denied else topics
        self.when_asked.pop(user, _nothing)()
        await asyncio.sleep(self._random.uniform(*QUERY_SECONDS))
        return allowed


def _nothing() -> None: ...
