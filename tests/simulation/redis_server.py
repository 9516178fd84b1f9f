"""The stand-in for a Redis server: the model behind connections, and all that can happen to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hiredis

from tests.simulation.redis_model import (
    OUT_OF_MEMORY,
    READ_ONLY,
    Data,
    Failure,
    RedisModel,
    Reply,
    encode,
)
from tests.simulation.world import World

LOADING = "LOADING Redis is loading the dataset in memory"
MAX_COPIES = 400
__all__ = ["LOADING", "OUT_OF_MEMORY", "READ_ONLY", "RedisServer"]


@dataclass(eq=False)
class _Session:
    server: "RedisServer"
    reply: Callable[[bytes], None]
    reader: Any = field(default_factory=lambda: hiredis.Reader())
    closed: bool = False

    def feed(self, data: bytes) -> None:
        self.reader.feed(data)
        while (command := self.reader.gets()) is not False:
            self.server.take(self, command)

    def close(self) -> None:
        self.closed = True
        self.server.blocked.pop(self, None)

    def answer(self, reply: Reply) -> None:
        if not self.closed:
            self.reply(encode(reply))


class RedisServer:
    """`copies`: the data after each change, the newest last, for whoever loses a part of them."""

    def __init__(self, world: World) -> None:
        self.listens = True
        self.clock_offset_ms = 0
        self.loading = False
        self.stands_still = False
        self.copies: list[tuple[float, Data]] = []
        self.blocked: dict[_Session, tuple[list[bytes], float]] = {}
        self._world = world
        self._queue: list[tuple[_Session, list[bytes]]] = []
        self.model = RedisModel(self.clock_ms)

    def clock_ms(self) -> int:
        return int(self._world.wall_clock() * 1000) + self.clock_offset_ms

    def accept(self, reply: Callable[[bytes], None]) -> _Session:
        return _Session(self, reply)

    def take(self, session: _Session, command: list[bytes]) -> None:
        if self.stands_still:
            self._queue.append((session, command))
        else:
            self._execute(session, command)

    def stand_still(self) -> None:
        """SIGSTOP: commands arrive, and nothing answers them."""
        self.stands_still = True

    def go_on(self) -> None:
        self.stands_still = False
        queue, self._queue = self._queue, []
        for session, command in queue:
            if not session.closed:
                self._execute(session, command)

    def _execute(self, session: _Session, command: list[bytes]) -> None:
        changes = self.model.changes
        try:
            reply = self._reply_to(command)
        except Failure as failure:
            session.answer(failure)
        else:
            if reply is None and b"BLOCK" in command[:5]:
                self._block(session, command)
            else:
                session.answer(reply)
        if self.model.changes != changes:
            self.keep_copy()
            self._serve_blocked()

    def _reply_to(self, command: list[bytes]) -> Reply:
        if self.loading:
            raise Failure(LOADING)
        return self.model.execute(command)

    def keep_copy(self) -> None:
        self.copies.append((self._world.now, self.model.data.copy()))
        if len(self.copies) > MAX_COPIES:
            del self.copies[: MAX_COPIES // 2]

    def _block(self, session: _Session, command: list[bytes]) -> None:
        seconds = int(command[command.index(b"BLOCK") + 1]) / 1000
        deadline = self._world.now + seconds
        self.blocked[session] = command, deadline
        self._world.after(seconds, lambda: self._end_block(session, deadline))

    def _end_block(self, session: _Session, deadline: float) -> None:
        if self.blocked.get(session, ((), None))[1] == deadline:
            if self.stands_still:
                self._world.after(0.01, lambda: self._end_block(session, deadline))
                return
            del self.blocked[session]
            if not session.closed:
                session.reply(b"*-1\r\n")

    def _serve_blocked(self) -> None:
        for session, (command, _) in list(self.blocked.items()):
            reply = self.model.call("XREAD", command[1:])
            if reply is not None:
                del self.blocked[session]
                session.answer(reply)

    # What happens to it; whoever calls these breaks the connections

    def restore(self, data: Data) -> None:
        """Have other data from now on: those of a backup, of a replica, or none."""
        self.model.data = data.copy()
        self.copies = [(self._world.now, data)]

    def copy_before(self, changes: int) -> Data:
        """The data as they were so many changes ago."""
        return self.copies[-changes - 1][1] if len(self.copies) > changes else Data()

    def copy_at(self, when: float) -> Data:
        return next((data for made, data in reversed(self.copies) if made <= when), Data())

    def refuse(self, error: str | None) -> None:
        """Refuse writes from now on, or with LOADING every command; with None, take all again."""
        self.loading = error == LOADING
        self.model.refusal = error

    def forget_scripts(self) -> None:
        self.model.scripts.clear()
