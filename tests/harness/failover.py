"""Redis with Sentinel, and as a cluster: real ones, which fail over within seconds."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.faults.site import KEYS
from tests.harness.servers import RedisServer, free_port, redis_binary, redis_server, wait_for_redis

DEADLINE = 60.0
POLL = 0.05
SLOTS = 16384
SLOT = key_slot(KEYS.stream.encode())
NODE_TIMEOUT = 1000
SWIFT_COPIES = ("--repl-diskless-sync-delay", "0")


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while True:
        with suppress(RedisError, OSError, LookupError, ValueError):
            if condition():
                return
        assert time.monotonic() < deadline, "It takes too long."
        time.sleep(POLL)


def ask(server: RedisServer, *command: Any) -> Any:
    with server.client() as client:
        client.response_callbacks.clear()
        return client.execute_command(*command)


def is_linked(server: RedisServer) -> bool:
    """Whether it is a replica that has what its master has."""
    return b"master_link_status:up" in ask(server, "INFO", "replication")


def restart(server: RedisServer) -> None:
    """After it was killed: it finds out what it is now, and becomes a replica."""
    command = [str(part) for part in server.popen.args]  # type: ignore[union-attr]
    with server.log.open("ab") as out:
        server.popen = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    wait_for_redis(server)
    wait(lambda: is_linked(server))


@dataclass
class Pair:
    """A master, its replica, and the Sentinel that watches them."""

    master: RedisServer
    replica: RedisServer
    sentinel: RedisServer

    @property
    def url(self) -> str:
        """The Sentinel that is asked first is down."""
        return f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{self.sentinel.port}/main/0"


@contextmanager
def sentinel(folder: Path, master: RedisServer, kind: str = "redis") -> Iterator[RedisServer]:
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 1000\n"
    )
    log = folder / "sentinel.log"
    with log.open("ab") as out:
        popen = subprocess.Popen(
            [redis_binary(kind), str(config), "--sentinel", "--dir", str(folder)],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    server = RedisServer(popen, port, log)
    try:
        wait(lambda: ask(server, "PING"))
        yield server
    finally:
        server.stop()


@contextmanager
def pair(folder: Path, kind: str) -> Iterator[Pair]:
    with ExitStack() as stack:
        master = stack.enter_context(
            redis_server(folder / "master", kind=kind, options=SWIFT_COPIES)
        )
        options = (*SWIFT_COPIES, "--replicaof", "127.0.0.1", str(master.port))
        replica = stack.enter_context(redis_server(folder / "replica", kind=kind, options=options))
        wait(lambda: is_linked(replica))
        watch = stack.enter_context(sentinel(folder / "sentinel", master, kind))
        # A Sentinel looks for replicas only now and then.
        wait(lambda: ask(watch, "SENTINEL", "REPLICAS", "main")[0][b"master-link-status"] == b"ok")
        yield Pair(master, replica, watch)


@dataclass
class Cluster:
    nodes: list[RedisServer]

    @property
    def url(self) -> str:
        """Of two nodes that never have the log, unless it is moved there."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[1:3])

    def owner(self) -> RedisServer:
        """Who all that are up agree has the log."""
        found = {self._owner_as(node) for node in self.nodes if node.popen.poll() is None}
        [port] = found
        return next(node for node in self.nodes if node.port == port)

    def _owner_as(self, node: RedisServer) -> int:
        return next(
            int(master[1])
            for first, last, master, *_ in ask(node, "CLUSTER", "SLOTS")
            if first <= SLOT <= last
        )

    def move(self, to: RedisServer) -> None:
        """The slot of the log, key by key."""
        move = self.begin_move(to)
        while keys := ask(move.source, "CLUSTER", "GETKEYSINSLOT", SLOT, 100):
            move.carry(*keys)
        move.finish()
        wait(lambda: self.owner() is to)

    def begin_move(self, to: RedisServer) -> "Move":
        source = self.owner()
        move = Move(source, to, ask(to, "CLUSTER", "MYID").decode())
        ask(to, "CLUSTER", "SETSLOT", SLOT, "IMPORTING", ask(source, "CLUSTER", "MYID").decode())
        ask(source, "CLUSTER", "SETSLOT", SLOT, "MIGRATING", move.id)
        return move


@dataclass
class Move:
    """A slot on its way. Until it is finished, the source asks for what it has no more (`ASK`)."""

    source: RedisServer
    to: RedisServer
    id: str

    def carry(self, *keys: str | bytes) -> None:
        for key in keys:
            ask(self.source, "MIGRATE", "127.0.0.1", self.to.port, key, 0, 5000)

    def finish(self) -> None:
        for node in (self.to, self.source):
            ask(node, "CLUSTER", "SETSLOT", SLOT, "NODE", self.id)


@contextmanager
def cluster(folder: Path, kind: str) -> Iterator[Cluster]:
    """Three masters, and a replica of the one that has the log."""
    with ExitStack() as stack:
        ports = [free_port() for _ in range(4)]
        nodes = [
            stack.enter_context(
                redis_server(folder / f"{number}", kind=kind, options=as_node(port))
            )
            for number, port in enumerate(ports)
        ]
        third = SLOTS // 3
        ranges = [(0, third), (third + 1, 2 * third), (2 * third + 1, SLOTS - 1)]
        # The first node is to have the log.
        ranges.sort(key=lambda each: not each[0] <= SLOT <= each[1])
        for epoch, (node, slots) in enumerate(zip(nodes, ranges, strict=False), 1):
            ask(node, "CLUSTER", "ADDSLOTSRANGE", *slots)
            ask(node, "CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node, port in zip(nodes[1:], ports[1:], strict=True):
            ask(nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, port)
        wait(lambda: all(_is_whole(node) for node in nodes))
        ask(nodes[3], "CLUSTER", "REPLICATE", ask(nodes[0], "CLUSTER", "MYID").decode())
        wait(lambda: is_linked(nodes[3]))
        # Until the others know that it is one, nobody would vote for it.
        wait(lambda: all(b"slave" in ask(node, "CLUSTER", "NODES") for node in nodes))
        yield Cluster(nodes)


def as_node(bus: int) -> tuple[str, ...]:
    return (
        *SWIFT_COPIES,
        *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
        *("--cluster-node-timeout", str(NODE_TIMEOUT), "--cluster-replica-validity-factor", "0"),
    )


@contextmanager
def single_node(folder: Path) -> Iterator[RedisServer]:
    """A cluster of one."""
    with redis_server(folder, options=as_node(free_port())) as node:
        ask(node, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        wait(lambda: b"cluster_state:ok" in ask(node, "CLUSTER", "INFO"))
        yield node


def _is_whole(node: RedisServer) -> bool:
    said: bytes = ask(node, "CLUSTER", "INFO")
    return b"cluster_state:ok" in said and b"cluster_known_nodes:4" in said
