"""The listening socket: its queue is served to the end, and its URL is one that works."""

import socket
import sys

import pytest
from django.core.management import CommandError

from notifications.management.server.listener import address, listen, listen_together, shut

DEADLINE = 10.0


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)


def test_ipv6_is_listened_on_and_named_as_urls_name_it() -> None:
    with listen("::1", 0) as listener:
        assert address(listener) == f"http://[::1]:{listener.getsockname()[1]}"


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux has such filters.")
def test_a_port_that_is_shut_lets_nobody_in_and_those_who_wait_are_served() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with connected(port) as waits:
            shut(listener)
            with pytest.raises(TimeoutError):
                socket.create_connection(("127.0.0.1", port), timeout=0.2)
            waits.sendall(b"asked")
            server, _ = listener.accept()
            with server:
                assert server.recv(10) == b"asked"
                server.sendall(b"answered")
            listener.close()
            assert waits.recv(10) == b"answered"
            assert waits.recv(10) == b""
    with pytest.raises(ConnectionRefusedError):
        connected(port)


def test_sockets_of_one_port_are_listened_on_and_nobody_elses() -> None:
    one, other = listen_together("127.0.0.1", 0, 2)
    with one, other:
        port = one.getsockname()[1]
        assert other.getsockname()[1] == port
        for count in (1, 2):
            with pytest.raises(CommandError, match=f"Port {port} of 127.0.0.1 is in use"):
                listen_together("127.0.0.1", port, count)


def test_an_address_that_is_not_ours_is_one_clear_line() -> None:
    with pytest.raises(CommandError, match=r"Cannot listen on port 0 of 192\.0\.2\.1: "):
        listen("192.0.2.1", 0)
