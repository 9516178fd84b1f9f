"""Redis with Sentinel, and a Redis cluster: real servers, which fail over within seconds."""

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

DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.05
SLOTS = 16384
SLOT = key_slot(KEYS.stream.encode())
NODE_TIMEOUT_MS = 1000
SYNC_AT_ONCE = ("--repl-diskless-sync-delay", "0")


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        with suppress(RedisError, OSError, LookupError, ValueError):
            if condition():
                return
        assert time.monotonic() < deadline, "The condition is still false."
        time.sleep(POLL_SECONDS)


def execute(server: RedisServer, *command: Any) -> Any:
    with server.client() as client:
        client.response_callbacks.clear()
        return client.execute_command(*command)


def is_linked(server: RedisServer) -> bool:
    """Whether this is a replica that has all data of its master."""
    return b"master_link_status:up" in execute(server, "INFO", "replication")


def restart(server: RedisServer) -> None:
    """Start a killed server again: it learns that it has lost its role, and becomes a replica."""
    command = [str(part) for part in server.popen.args]  # type: ignore[union-attr]
    with server.log.open("ab") as out:
        server.popen = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    wait_for_redis(server)
    wait_until(lambda: is_linked(server))


@dataclass
class Pair:
    """A master, its replica, and the Sentinel that watches them."""

    master: RedisServer
    replica: RedisServer
    sentinel: RedisServer

    @property
    def url(self) -> str:
        """The first Sentinel in this URL is down."""
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
        wait_until(lambda: execute(server, "PING"))
        yield server
    finally:
        server.stop()


def knows_replica(sentinel: RedisServer) -> bool:
    """Whether a Sentinel knows of a replica that is linked to its master."""
    [replica] = execute(sentinel, "SENTINEL", "REPLICAS", "main")
    return bool(replica[b"master-link-status"] == b"ok")


@contextmanager
def pair(folder: Path, kind: str) -> Iterator[Pair]:
    with ExitStack() as stack:
        master = stack.enter_context(
            redis_server(folder / "master", kind=kind, options=SYNC_AT_ONCE)
        )
        options = (*SYNC_AT_ONCE, "--replicaof", "127.0.0.1", str(master.port))
        replica = stack.enter_context(redis_server(folder / "replica", kind=kind, options=options))
        wait_until(lambda: is_linked(replica))
        watch = stack.enter_context(sentinel(folder / "sentinel", master, kind))
        # A Sentinel looks for replicas only from time to time.
        wait_until(lambda: knows_replica(watch))
        yield Pair(master, replica, watch)


@dataclass
class Cluster:
    nodes: list[RedisServer]

    @property
    def url(self) -> str:
        """Names two nodes that do not have the log, unless it is moved to one of them."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[1:3])

    def owner(self) -> RedisServer:
        """The node that has the log, on which all running nodes must agree."""
        ports = {self._owner_according_to(node) for node in self.nodes if node.popen.poll() is None}
        [port] = ports
        return next(node for node in self.nodes if node.port == port)

    def _owner_according_to(self, node: RedisServer) -> int:
        return next(
            int(master[1])
            for first, last, master, *_ in execute(node, "CLUSTER", "SLOTS")
            if first <= SLOT <= last
        )

    def move(self, to: RedisServer) -> None:
        """Move the slot of the log, key by key."""
        move = self.begin_move(to)
        while keys := execute(move.source, "CLUSTER", "GETKEYSINSLOT", SLOT, 100):
            move.move_keys(*keys)
        move.finish()
        wait_until(lambda: self.owner() is to)

    def begin_move(self, to: RedisServer) -> "Move":
        source = self.owner()
        source_id, id = (execute(node, "CLUSTER", "MYID").decode() for node in (source, to))
        execute(to, "CLUSTER", "SETSLOT", SLOT, "IMPORTING", source_id)
        execute(source, "CLUSTER", "SETSLOT", SLOT, "MIGRATING", id)
        return Move(source, to, id)


@dataclass
class Move:
    """A slot on its way. Until the end, the source redirects requests for moved keys (`ASK`)."""

    source: RedisServer
    to: RedisServer
    id: str

    def move_keys(self, *keys: str | bytes) -> None:
        for key in keys:
            execute(self.source, "MIGRATE", "127.0.0.1", self.to.port, key, 0, 5000)

    def finish(self) -> None:
        for node in (self.to, self.source):
            execute(node, "CLUSTER", "SETSLOT", SLOT, "NODE", self.id)


@contextmanager
def cluster(folder: Path, kind: str) -> Iterator[Cluster]:
    """Three masters, and a replica of the one that has the log."""
    with ExitStack() as stack:
        ports = [free_port() for _ in range(4)]
        nodes = [
            stack.enter_context(
                redis_server(folder / f"{number}", kind=kind, options=node_options(port))
            )
            for number, port in enumerate(ports)
        ]
        third = SLOTS // 3
        ranges = [(0, third), (third + 1, 2 * third), (2 * third + 1, SLOTS - 1)]
        # The first node gets the log.
        ranges.sort(key=lambda slots: not slots[0] <= SLOT <= slots[1])
        for epoch, (node, slots) in enumerate(zip(nodes, ranges, strict=False), 1):
            execute(node, "CLUSTER", "ADDSLOTSRANGE", *slots)
            execute(node, "CLUSTER", "SET-CONFIG-EPOCH", epoch)
        for node, port in zip(nodes[1:], ports[1:], strict=True):
            execute(nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, port)
        wait_until(lambda: all(_is_whole(node) for node in nodes))
        execute(nodes[3], "CLUSTER", "REPLICATE", execute(nodes[0], "CLUSTER", "MYID").decode())
        wait_until(lambda: is_linked(nodes[3]))
        # The other nodes vote for a replica only once they know that it is one.
        wait_until(lambda: all(b"slave" in execute(node, "CLUSTER", "NODES") for node in nodes))
        yield Cluster(nodes)


def node_options(bus_port: int) -> tuple[str, ...]:
    return (
        *SYNC_AT_ONCE,
        *("--cluster-enabled", "yes", "--cluster-port", str(bus_port)),
        *("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-replica-validity-factor", "0"),
    )


@contextmanager
def single_node(folder: Path) -> Iterator[RedisServer]:
    """A cluster of one node."""
    with redis_server(folder, options=node_options(free_port())) as node:
        execute(node, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        wait_until(lambda: b"cluster_state:ok" in execute(node, "CLUSTER", "INFO"))
        yield node


def _is_whole(node: RedisServer) -> bool:
    info: bytes = execute(node, "CLUSTER", "INFO")
    return b"cluster_state:ok" in info and b"cluster_known_nodes:4" in info
