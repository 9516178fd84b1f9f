"""Control entries reach the log, and their sender neither waits for the log nor fails with it."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from pytest_django import Settings as DjangoSettings

from notifications.log import script
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry
from notifications.log.reader import Reader
from notifications.publishing import control
from notifications.publishing.control import ControlPublisher
from notifications.publishing.pending_controls import MAX_SUBJECTS
from tests.harness.promises import within
from tests.harness.servers import RedisServer, manage, redis_server

DEADLINE_SECONDS = 60.0
PUBLISH_TIMEOUT_SECONDS = 0.2
KEYS = script.Keys("carillon")


@pytest.fixture
def server(tmp_path: Path, settings: DjangoSettings) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        settings.CARILLON = {
            "LOG": "redis",
            "REDIS_URL": server.url,
            "PUBLISH_TIMEOUT": PUBLISH_TIMEOUT_SECONDS,
        }
        yield server


def entries(server: RedisServer) -> list[ControlEntry]:
    with server.client() as client:
        # As pairs in one list, which is how the log reads them.
        raw = [(name, list(chain(*fields.items()))) for name, fields in client.xrange(KEYS.stream)]
        return [entry for batch in Reader().batch(raw) for entry in batch.controls]


def entry(number: int) -> ControlEntry:
    return ControlEntry(ControlAction.END, (f"user:{number}",), "kicked")


def recheck_of(number: int) -> ControlEntry:
    return ControlEntry(ControlAction.RECHECK, (f"user:{number}",), "")


def subjects(server: RedisServer) -> list[str]:
    return [subject for entry in entries(server) for subject in entry.subjects]


def test_entries_reach_the_log_in_their_order(server: RedisServer) -> None:
    publisher = ControlPublisher()
    for number in range(20):
        publisher.send(entry(number))
    assert publisher.flush(DEADLINE_SECONDS)
    assert subjects(server) == [f"user:{number}" for number in range(20)]


def test_an_entry_that_is_being_appended_does_not_stand_for_a_later_one(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in the log already, from a moment before the later change."""
    settings.CARILLON = {"LOG": "redis", "REDIS_URL": "redis://127.0.0.1:1/0"}
    log = SlowLog()
    monkeypatch.setattr("notifications.publishing.control.open_sync_log", lambda _: log)
    publisher = ControlPublisher()
    publisher.send(entry(5))
    assert log.began.wait(DEADLINE_SECONDS)
    for _ in range(3):
        publisher.send(entry(5))
    log.go_on.set()
    assert publisher.flush(DEADLINE_SECONDS)
    assert [sent.subjects for sent in log.entries] == [("user:5",), ("user:5",)]


class SlowLog:
    """A log whose first append takes until the test lets it go on."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.entries: list[ControlEntry] = []

    def append_control(self, control: ControlEntry) -> None:
        self.began.set()
        assert self.go_on.wait(DEADLINE_SECONDS)
        self.entries.append(control)


def test_entries_that_wait_and_order_the_same_are_appended_as_one(server: RedisServer) -> None:
    publisher = ControlPublisher()
    server.pause()
    for number in range(500):
        publisher.send(recheck_of(number % 50))
        publisher.send(entry(number % 7))
    server.resume()
    assert publisher.flush(DEADLINE_SECONDS)
    assert {name for sent in entries(server) for name in sent.subjects} == {
        f"user:{number}" for number in range(50)
    }
    for action in (ControlAction.END, ControlAction.RECHECK):
        assert 1 <= sum(sent.action is action for sent in entries(server)) <= 5


def test_a_recheck_of_very_many_is_one_of_everyone(server: RedisServer) -> None:
    publisher = ControlPublisher()
    server.pause()
    for number in range(3 * MAX_SUBJECTS):
        publisher.send(recheck_of(number))
    server.resume()
    assert publisher.flush(DEADLINE_SECONDS)
    assert EVERYONE in subjects(server)
    assert len(subjects(server)) < MAX_SUBJECTS


def test_the_ends_of_very_many_name_each(server: RedisServer) -> None:
    publisher = ControlPublisher()
    server.pause()
    for number in range(3 * MAX_SUBJECTS):
        publisher.send(entry(number))
    server.resume()
    assert publisher.flush(DEADLINE_SECONDS)
    assert set(subjects(server)) == {f"user:{number}" for number in range(3 * MAX_SUBJECTS)}


def test_while_the_log_is_away_entries_wait_and_their_sender_does_not(server: RedisServer) -> None:
    publisher = ControlPublisher()
    server.pause()
    with within(0.3):
        publisher.send(entry(1))
        publisher.send(entry(2))
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
        publisher.send(replace(entry(number), topics=(f"topic-{number}",)))
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


def test_where_no_threads_run_the_sender_appends_and_waits_no_longer_than_a_publication(
    server: RedisServer, settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeout = 1  # the server has to answer in time, also on a busy machine
    settings.CARILLON = {**settings.CARILLON, "PUBLISH_TIMEOUT": timeout}
    monkeypatch.setattr(control, "threads_run", lambda: False)
    publisher = ControlPublisher()
    publisher.send(entry(1))
    assert subjects(server) == ["user:1"]
    server.pause()
    with within(timeout + 1):
        publisher.send(entry(2))
    server.resume()
    publisher.send(entry(3))
    assert set(subjects(server)) >= {"user:1", "user:2", "user:3"}
    assert publisher.flush(0)
    assert publisher._thread is None
