"""Control entries reach the log without their sender waiting for it, or failing with it."""

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from pytest_django import Settings as DjangoSettings

from notifications.log import script
from notifications.log.base import Control, Order
from notifications.log.reader import Reader
from notifications.publishing import control
from notifications.publishing.control import ControlPublisher
from tests.harness.servers import RedisServer, manage, redis_server

DEADLINE = 20.0
KEYS = script.Keys("carillon")


@pytest.fixture
def server(tmp_path: Path, settings: DjangoSettings) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        settings.CARILLON = {"LOG": "redis", "REDIS_URL": server.url, "PUBLISH_TIMEOUT": 0.2}
        yield server


def orders(server: RedisServer) -> list[Control]:
    with server.client() as client:
        # As pairs in one list, which is how the log reads them.
        raw = [(name, list(chain(*given.items()))) for name, given in client.xrange(KEYS.stream)]
        return [each for batch in Reader().batch(raw) for each in batch.controls]


def order(number: int) -> Control:
    return Control(Order.END, (f"user:{number}",), "kicked")


def subjects(server: RedisServer) -> list[str]:
    return [subject for each in orders(server) for subject in each.subjects]


def test_they_are_in_the_log_in_their_order(server: RedisServer) -> None:
    messenger = ControlPublisher()
    for number in range(20):
        messenger.send(order(number))
    assert messenger.flush(DEADLINE)
    assert subjects(server) == [f"user:{number}" for number in range(20)]


def test_the_same_order_twice_is_two_orders(server: RedisServer) -> None:
    """What is in flight was said of a time before."""
    messenger = ControlPublisher()
    for _ in range(2):
        messenger.send(order(5))
    assert messenger.flush(DEADLINE)
    assert subjects(server) == ["user:5", "user:5"]


def test_while_the_log_is_away_they_wait_and_their_sender_does_not(server: RedisServer) -> None:
    messenger = ControlPublisher()
    server.pause()
    began = time.monotonic()
    messenger.send(order(1))
    messenger.send(order(2))
    assert time.monotonic() - began < 0.1
    assert not messenger.flush(0.5)
    server.resume()
    assert messenger.flush(DEADLINE)
    # The first may have been there when its acknowledgement was missed: once more does no harm.
    assert list(dict.fromkeys(subjects(server))) == ["user:1", "user:2"]


def test_what_waits_has_a_bound(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(control, "MAX_WAITING", 3)
    messenger = ControlPublisher()
    server.pause()
    for number in range(5):
        messenger.send(order(number))
    server.resume()
    assert messenger.flush(DEADLINE)
    assert caplog.text.count("control.dropped") == 2


FORK = """
from notifications import kick
from notifications.publishing import control
kick(user=1)
assert control.flush(20)
child = os.fork()
kick(user=3 if child else 2)
assert control.flush(20)
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    os._exit(0)
"""


def test_a_process_that_was_forked_has_a_messenger_too(server: RedisServer, tmp_path: Path) -> None:
    manage("shell", "--no-imports", "-c", FORK, redis_url=server.url, folder=tmp_path / "site")
    assert sorted(subjects(server)) == ["user:1", "user:2", "user:3"]
