"""Listening sockets: a queue is served to its end, a port is not shared, and the URL works."""

import socket
import sys

import pytest
from django.core.management import CommandError

from notifications.management.server.listener import (
    drop_handshakes,
    listen,
    listen_shared,
    url_of,
)

DEADLINE_SECONDS = 10.0


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)


def test_an_ipv6_address_is_in_brackets_in_the_url() -> None:
    with listen("::1", 0) as listener:
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux has such filters.")
def test_dropping_handshakes_refuses_new_clients_and_the_queue_is_still_served() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with connected(port) as waiting:
            drop_handshakes(listener)
            with pytest.raises(TimeoutError):
                socket.create_connection(("127.0.0.1", port), timeout=0.2)
            waiting.sendall(b"asked")
            server, _ = listener.accept()
            with server:
                assert server.recv(10) == b"asked"
                server.sendall(b"answered")
            listener.close()
            assert waiting.recv(10) == b"answered"
            assert waiting.recv(10) == b""
    with pytest.raises(ConnectionRefusedError):
        connected(port)


def test_sockets_share_one_port_and_only_with_each_other() -> None:
    one, other = listen_shared("127.0.0.1", 0, 2)
    with one, other:
        port = one.getsockname()[1]
        assert other.getsockname()[1] == port
        for count in (1, 2):
            with pytest.raises(CommandError, match=f"Port {port} of 127.0.0.1 is in use"):
                listen_shared("127.0.0.1", port, count)


def test_an_address_of_another_machine_is_refused_in_one_line() -> None:
    with pytest.raises(CommandError, match=r"Cannot listen on port 0 of 192\.0\.2\.1: "):
        listen("192.0.2.1", 0)
