"""Processes that are killed at the worst of moments lose nothing, and repeat nothing."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing

from django.db import connections, transaction
from pytest_django import Settings as DjangoSettings

from notifications import publish_outbox, publish_outbox_many
from notifications.events import Event
from notifications.publishing.outbox.relay import RELEASED
from tests.harness.manage import served
from tests.harness.servers import ROOT, RedisServer
from tests.unit.publishing.outbox.conftest import LEASE, Database
from tests.unit.publishing.outbox.reading import DEADLINE, Published, relaying, wait_until

A_BUSY_MACHINE = 10.0


def crash(environment: dict[str, str], *moments: str) -> None:
    """A process for each moment, all at once."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.unit.publishing.outbox.crashing", moment],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
        )
        for moment in moments
    ]
    for process in processes:
        _, said = process.communicate(timeout=DEADLINE)
        assert process.returncode == -signal.SIGKILL, said.decode()


def test_a_publisher_killed_after_its_commit_loses_nothing_and_before_it_publishes_nothing(
    database: Database, published: Published, of_another_process: dict[str, str]
) -> None:
    crash(of_another_process, "before_commit", "after_commit")
    assert published.data() == []
    with relaying(database.alias):
        assert published.until(1) == ["committed"]
        wait_until(lambda: not database.waiting)


def test_a_relay_killed_between_publishing_and_deleting_repeats_nothing_however_late_it_is_back(
    database: Database,
    published: Published,
    of_another_process: dict[str, str],
    redis: RedisServer,
    settings: DjangoSettings,
) -> None:
    events = [Event(topics=["t"], data=str(number)) for number in range(5)]
    publish_outbox_many(events, using=database.alias)
    crash(of_another_process, "after_publishing")
    assert published.data() == ["0", "1", "2", "3", "4"]
    assert database.waiting == 5
    with redis.client() as client:
        keys = list(client.scan_iter("{carillon}:once:*"))
        assert len(keys) == 5
        assert min(map(client.ttl, keys)) > 29 * 24 * 60 * 60
        publish_outbox("t", "5", using=database.alias)
        with relaying(database.alias):
            assert published.until(6) == ["0", "1", "2", "3", "4", "5"]
            wait_until(lambda: not database.waiting)
        keys = list(client.scan_iter("{carillon}:once:*"))
        assert len(keys) == 6
        assert max(map(client.ttl, keys)) <= RELEASED


def stop(process: "subprocess.Popen[str]", database: Database) -> None:
    """Not in the middle of a write to SQLite: nobody could write as long as it is stopped."""
    while True:
        process.send_signal(signal.SIGSTOP)
        if database.alias != "sqlite":
            return
        path = database.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=2, autocommit=True)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                process.send_signal(signal.SIGCONT)
            else:
                connection.execute("ROLLBACK")
                return


def test_of_two_relays_one_is_at_work_and_the_other_takes_over(
    database: Database, published: Published, of_another_process: dict[str, str]
) -> None:
    """One is stopped, comes back, and is killed, while events are written all the time."""
    stopping = threading.Event()
    written = 0

    def writer() -> None:
        nonlocal written
        while not stopping.wait(0.002):
            with transaction.atomic(database.alias):
                publish_outbox("t", str(written), using=database.alias)
            written += 1
        connections[database.alias].close()

    with ExitStack() as stack:
        first = stack.enter_context(served("relay", environment=of_another_process))
        first.says(r"(relay\.active)")
        second = stack.enter_context(served("relay", environment=of_another_process))
        second.says(r"(Relaying from default)")
        thread = threading.Thread(target=writer)
        thread.start()
        try:
            stop(first.popen, database)
            stopped = time.monotonic()
            second.says(r"(relay\.active)")
            assert time.monotonic() - stopped < LEASE + A_BUSY_MACHINE
            first.popen.send_signal(signal.SIGCONT)
            first.says(r"(relay\.lost)")
            seen = len(published.data())
            published.until(seen + 20)
            assert "relay.active" not in first.said.split("relay.lost")[-1]
            second.popen.kill()
            killed = time.monotonic()
            first.says(r"(relay\.active)")
            assert time.monotonic() - killed < LEASE + A_BUSY_MACHINE
            published.until(len(published.data()) + 20)
        finally:
            stopping.set()
            thread.join(DEADLINE)
        assert published.until(written) == [str(number) for number in range(written)]
        wait_until(lambda: not database.waiting)
        assert database.relayed
        assert first.end() == 0
        assert not database.relayed
