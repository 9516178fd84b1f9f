"""The pollers of several event loops, and of a process that forks."""

import asyncio
import socket
import subprocess
import sys
import threading
from contextlib import closing

from notifications.transport.pollers import poller
from notifications.transport.socket import SocketTransport
from tests.harness.servers import ROOT

DEADLINE_SECONDS = 60.0

FORKING = """
import asyncio, os, signal, socket
from notifications.transport.base import Loss, Payload
from notifications.transport.pollers import poller
from notifications.transport.socket import SocketTransport

class Owner:
    def __init__(self, transport):
        transport.callbacks, self.lost_as = self, asyncio.Event()
    def drained(self): pass
    def lost(self, loss=Loss.FAILED): self.lost_as.set()

async def use_another_loop():
    ours, theirs = socket.socketpair()
    transport = SocketTransport(ours, poller(), is_chunked=True)
    transport.write(Payload(b"in the child"))
    assert theirs.recv(100) == b"c\\r\\nin the child\\r\\n"
    transport.abort()

def in_child(transports, clients, report):
    for client in clients:
        client.close()
    abort, end, release, write, leave = transports
    abort.abort()
    end.end(Payload(b"the end"))
    release.release()
    write.write(Payload(b"of the child"))
    asyncio.run(use_another_loop())
    os.write(report, b"done")
    signal.pause()

async def main():
    pairs = [socket.socketpair() for _ in range(5)]
    transports = [SocketTransport(ours, poller(), is_chunked=True) for ours, _ in pairs]
    owners = [Owner(transport) for transport in transports]
    reported, report = os.pipe()
    child = os.fork()
    if not child:
        try:
            in_child(transports, [client for _, client in pairs], report)
        finally:
            os._exit(1)
    try:
        os.close(report)
        assert os.read(reported, 10) == b"done"
        for transport, (_, client) in zip(transports, pairs):
            client.settimeout(20)
            transport.write(Payload(b"of the parent"))
            assert client.recv(100) == b"d\\r\\nof the parent\\r\\n"
        transports[4].abort()
        assert pairs[4][1].recv(100) == b"", "a copy in the child keeps the connection open"
        for owner, (_, client) in zip(owners[:4], pairs):
            client.close()
            await asyncio.wait_for(owner.lost_as.wait(), 20)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

asyncio.run(main())
"""


def test_a_forked_child_takes_nothing_from_its_parent_and_keeps_no_connection_open() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING],
        cwd=ROOT,
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def _poller_of_this_loop() -> int:
    return id(poller())


def test_two_threads_may_make_their_pollers_at_the_same_time() -> None:
    made: list[int] = []

    class Interrupting(asyncio.SelectorEventLoop):
        """While one thread asks whether this loop is closed, another makes its own poller."""

        def is_closed(self) -> bool:
            if super().is_closed() and not made:
                made.append(0)
                thread = threading.Thread(target=asyncio.run, args=[_poller_of_this_loop()])
                thread.start()
                thread.join(DEADLINE_SECONDS)
            return super().is_closed()

    with closing(Interrupting()) as loop:
        loop.run_until_complete(_poller_of_this_loop())
    assert asyncio.run(_poller_of_this_loop())
    assert made


def test_the_streams_of_a_loop_that_was_closed_end() -> None:
    ours, client = socket.socketpair()

    async def open_stream() -> None:
        SocketTransport(ours, poller(), is_chunked=True)

    with closing(client):
        client.settimeout(DEADLINE_SECONDS)
        asyncio.run(open_stream())
        asyncio.run(_poller_of_this_loop())
        assert client.recv(1) == b""
