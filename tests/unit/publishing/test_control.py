"""Control entries reach the log, and their sender neither waits for the log nor fails with it."""

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from pytest_django import Settings as DjangoSettings

from notifications.log import script
from notifications.log.entries import ControlAction, ControlEntry
from notifications.log.reader import Reader
from notifications.publishing.control import ControlPublisher
from tests.harness.servers import RedisServer, manage, redis_server

DEADLINE_SECONDS = 20.0
KEYS = script.Keys("carillon")


@pytest.fixture
def server(tmp_path: Path, settings: DjangoSettings) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        settings.CARILLON = {"LOG": "redis", "REDIS_URL": server.url, "PUBLISH_TIMEOUT": 0.2}
        yield server


def entries(server: RedisServer) -> list[ControlEntry]:
    with server.client() as client:
        # As pairs in one list, which is how the log reads them.
        raw = [(name, list(chain(*fields.items()))) for name, fields in client.xrange(KEYS.stream)]
        return [entry for batch in Reader().batch(raw) for entry in batch.controls]


def entry(number: int) -> ControlEntry:
    return ControlEntry(ControlAction.END, (f"user:{number}",), "kicked")


def subjects(server: RedisServer) -> list[str]:
    return [subject for entry in entries(server) for subject in entry.subjects]


def test_entries_reach_the_log_in_their_order(server: RedisServer) -> None:
    publisher = ControlPublisher()
    for number in range(20):
        publisher.send(entry(number))
    assert publisher.flush(DEADLINE_SECONDS)
    assert subjects(server) == [f"user:{number}" for number in range(20)]


def test_the_same_entry_sent_twice_is_appended_twice(server: RedisServer) -> None:
    """The pending one is about an earlier moment, so it cannot stand for both."""
    publisher = ControlPublisher()
    for _ in range(2):
        publisher.send(entry(5))
    assert publisher.flush(DEADLINE_SECONDS)
    assert subjects(server) == ["user:5", "user:5"]


def test_while_the_log_is_away_entries_wait_and_their_sender_does_not(server: RedisServer) -> None:
    publisher = ControlPublisher()
    server.pause()
    began = time.monotonic()
    publisher.send(entry(1))
    publisher.send(entry(2))
    assert time.monotonic() - began < 0.1
    assert not publisher.flush(0.5)
    server.resume()
    assert publisher.flush(DEADLINE_SECONDS)
    # The log may have had the first one without an acknowledgement: a repetition does no harm.
    assert list(dict.fromkeys(subjects(server))) == ["user:1", "user:2"]


def test_the_number_of_pending_entries_has_a_bound(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    publisher = ControlPublisher(max_pending=3)
    server.pause()
    for number in range(5):
        publisher.send(entry(number))
    server.resume()
    assert publisher.flush(DEADLINE_SECONDS)
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


def test_a_forked_process_has_a_publisher_too(server: RedisServer, tmp_path: Path) -> None:
    manage("shell", "--no-imports", "-c", FORK, redis_url=server.url, folder=tmp_path / "site")
    assert sorted(subjects(server)) == ["user:1", "user:2", "user:3"]
