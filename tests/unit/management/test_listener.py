"""Listening sockets: a queue is served to its end, a port is not shared, and the URL works."""

import socket
import sys
from contextlib import ExitStack

import pytest
from django.core.management import CommandError

from notifications.management.carillon.launch import url_of
from notifications.management.kernel import drop_handshakes
from notifications.management.server.listener import listen

DEADLINE_SECONDS = 60.0


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)


def test_an_ipv6_address_is_in_brackets_in_the_url() -> None:
    [[listener]] = listen("::1", 0)
    with listener:
        assert url_of("::1", [listener]) == f"http://[::1]:{listener.getsockname()[1]}"


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux has such filters.")
def test_dropping_handshakes_refuses_new_clients_and_the_queue_is_still_served() -> None:
    [[listener]] = listen("127.0.0.1", 0)
    with listener:
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
    [one], [other] = listen("127.0.0.1", 0, 2)
    with one, other:
        port = one.getsockname()[1]
        assert other.getsockname()[1] == port
        for count in (1, 2):
            with pytest.raises(CommandError, match=f"Port {port} of 127.0.0.1 is in use"):
                listen("127.0.0.1", port, count)


def test_an_address_of_another_machine_is_refused_in_one_line() -> None:
    with pytest.raises(CommandError, match=r"Cannot listen on port 0 of 192\.0\.2\.1: "):
        listen("192.0.2.1", 0)


def test_every_address_is_a_socket_for_each_family_in_each_share() -> None:
    shares = listen("::", 0, 2)
    with ExitStack() as stack:
        names = [stack.enter_context(each).getsockname()[:2] for share in shares for each in share]
    ports = {port for _, port in names}
    assert len(ports) == 1
    assert [name for name, _ in names] in (["::", "0.0.0.0"] * 2, ["0.0.0.0"] * 2)


def test_an_address_of_a_name_that_this_machine_does_not_have_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
        for address in ("192.0.2.1", "127.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    [[listener]] = listen("a-name", 0)
    with listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_name_that_is_unknown_is_refused_in_one_line() -> None:
    with pytest.raises(CommandError, match=r"Cannot listen on port 0 of nowhere\.invalid: "):
        listen("nowhere.invalid", 0)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::", "http://localhost:"),
        ("0.0.0.0", "http://localhost:"),
        ("localhost", "http://localhost:"),
        ("127.0.0.1", "http://127.0.0.1:"),
    ],
)
def test_the_url_is_one_that_a_browser_on_this_machine_can_open(host: str, url: str) -> None:
    [listeners] = listen(host, 0)
    with ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener)
        assert url_of(host, listeners) == f"{url}{listeners[0].getsockname()[1]}"
