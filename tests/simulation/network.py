"""The network between the processes and Redis: connections of asyncio, without sockets.

Bytes arrive in order, after a while. A host can be cut off, which holds what is under way as TCP
does, and a connection can break, which loses any part of that: a command or its reply, and a reply
in the middle.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from tests.simulation.world import Loop, World

LATENCY_SECONDS = 0.0001, 0.002
LATE_CHANCE, LATE_SECONDS = 0.3, (0.01, 1.5)
"""Of commands that still arrive when their connection has broken."""


class Session(Protocol):
    """What a server has of one connection."""

    def feed(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Server(Protocol):
    """`listens`: whether anything accepts connections."""

    listens: bool

    def accept(self, reply: Callable[[bytes], None]) -> Session: ...


class Connection(asyncio.Transport):
    """One connection to the server, as its client has it."""

    def __init__(self, network: "Network", loop: Loop, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._network = network
        self.loop = loop
        self._protocol = protocol
        self._session: Session | None = network.server.accept(self._reply)
        self._closing = False
        self._under_way: list[tuple[bool, bytes]] = []
        """In order: whether it goes to the server, and what."""
        self._latest = [0.0, 0.0]

    # What the client calls

    def write(self, data: Any) -> None:
        if not self._closing:
            self._send(bytes(data), to_server=True)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """What was sent still arrives, and nobody reads the reply."""
        if not self._closing:
            self._closing = True
            self.loop.call_soon(self._protocol.connection_lost, None)
            self._leave_if_all_arrived()

    abort = close

    def _leave_if_all_arrived(self) -> None:
        if self._closing and not any(to_server for to_server, _ in self._under_way):
            self._leave_server()

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    # What the network does

    def _reply(self, data: bytes) -> None:
        self._send(data, to_server=False)

    def _send(self, data: bytes, *, to_server: bool) -> None:
        item = (to_server, data)
        self._under_way.append(item)
        if not self._network.is_cut_off(self.loop):
            self._carry(item)

    def _carry(self, item: tuple[bool, bytes]) -> None:
        world, direction = self._network.world, item[0]
        due = max(self._latest[direction], world.now + self._network.latency(self.loop))
        self._latest[direction] = due
        world.add_timer(due, None, lambda: self._arrive(item))

    def _arrive(self, item: tuple[bool, bytes]) -> None:
        if self._network.is_cut_off(self.loop):
            return  # `carry_on` sends it again
        for index, each in enumerate(self._under_way):
            if each is item:
                del self._under_way[index]
                self._deliver(item)
                return

    def _deliver(self, item: tuple[bool, bytes]) -> None:
        to_server, data = item
        if to_server:
            if self._session is not None:
                self._session.feed(data)
            self._leave_if_all_arrived()
        elif not self._closing:
            self.loop.call_soon(self._protocol.data_received, data)

    def carry_on(self) -> None:
        """The host is connected again: what was under way arrives."""
        for item in self._under_way:
            self._carry(item)

    def break_off(self, random: Random) -> None:
        """Lose what is under way, from any byte on."""
        under_way, self._under_way = self._under_way, []
        kept = random.randint(0, len(under_way))
        for item in under_way[:kept]:
            self._deliver(item)
        commands = [data for to_server, data in under_way[kept:] if to_server]
        if self._session is not None and commands and random.random() < LATE_CHANCE:
            self._deliver_late(self._session, commands, random.uniform(*LATE_SECONDS))
        elif kept < len(under_way):
            to_server, data = under_way[kept]
            self._deliver((to_server, data[: random.randint(0, len(data))]))
        self._leave_server()
        if not self._closing:
            self._closing = True
            self.loop.call_soon(self._protocol.connection_lost, ConnectionResetError("reset"))

    def _deliver_late(self, session: Session, commands: list[bytes], seconds: float) -> None:
        """A proxy has them, and passes them on although its client has gone."""
        self._session = None

        def deliver() -> None:
            session.feed(b"".join(commands))
            session.close()

        self._network.world.after(seconds, deliver)

    def _leave_server(self) -> None:
        self._network.connections.pop(self, None)
        session, self._session = self._session, None
        if session is not None:
            session.close()


class Network:
    """All connections to one server."""

    def __init__(self, world: World, server: Server) -> None:
        self.world = world
        self.server = server
        self.connections: dict[Connection, None] = {}
        self.slowness = 1.0
        """By how much latencies are longer than usual."""
        self.slowness_of: dict[str, float] = {}
        self._random = world.random("network")
        self._cut_off: set[str] = set()
        self._waiting: list[tuple[Loop, asyncio.Future[None]]] = []

    def latency(self, loop: Loop) -> float:
        usual = self._random.uniform(*LATENCY_SECONDS)
        return usual * self.slowness * self.slowness_of.get(loop.name, 1)

    def is_cut_off(self, loop: Loop) -> bool:
        return loop.name in self._cut_off

    async def connect(
        self, loop: Loop, make_protocol: Callable[[], asyncio.Protocol], *address: object
    ) -> tuple[Connection, asyncio.Protocol]:
        arrived = loop.create_future()
        if self.is_cut_off(loop):
            self._waiting.append((loop, arrived))
        else:
            loop.call_later(self.latency(loop), _resolve, arrived)
        await arrived
        if not self.server.listens:
            raise ConnectionRefusedError("refused")
        protocol = make_protocol()
        connection = Connection(self, loop, protocol)
        self.connections[connection] = None
        protocol.connection_made(connection)
        return connection, protocol

    def cut_off(self, name: str) -> None:
        """Hold all that goes to and from the loop of this name."""
        self._cut_off.add(name)

    def heal(self, name: str) -> None:
        self._cut_off.discard(name)
        waiting, self._waiting = self._waiting, []
        for loop, arrived in waiting:
            if self.is_cut_off(loop):
                self._waiting.append((loop, arrived))
            else:
                loop.call_soon(_resolve, arrived)
        for connection in list(self.connections):
            if connection.loop.name == name:
                connection.carry_on()

    def break_off(self, random: Random, name: str | None = None) -> None:
        """Break the connections of one loop, or all."""
        for connection in list(self.connections):
            if name in (None, connection.loop.name):
                connection.break_off(random)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
