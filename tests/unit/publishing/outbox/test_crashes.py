"""A publisher or a relay that is killed at any moment loses nothing and repeats nothing."""

import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import ExitStack, closing

from django.db import connections, transaction
from pytest_django import Settings as DjangoSettings

from notifications import publish_outbox, publish_outbox_many
from notifications.events import Event
from notifications.publishing.outbox.relay import RELEASED_KEY_SECONDS
from tests.harness.databases import Database
from tests.harness.manage import carillon_process
from tests.harness.servers import RedisServer
from tests.harness.warm import python_process
from tests.unit.publishing.outbox.conftest import LEASE_SECONDS
from tests.unit.publishing.outbox.reading import DEADLINE_SECONDS, Published, relaying, wait_until

BUSY_MACHINE_SECONDS = 30.0


def crash(environment: dict[str, str], *moments: str) -> None:
    """Run a process for each moment, all at the same time."""
    processes = [
        python_process(
            *("-m", "tests.unit.publishing.outbox.crashing", moment),
            env=environment,
            stderr=subprocess.PIPE,
        )
        for moment in moments
    ]
    for process in processes:
        _, errors = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == -signal.SIGKILL, errors.decode()


def test_a_publisher_killed_after_its_commit_loses_nothing_and_before_it_publishes_nothing(
    database: Database, published: Published, process_environment: dict[str, str]
) -> None:
    crash(process_environment, "before_commit", "after_commit")
    assert published.data() == []
    with relaying(database.alias):
        assert published.until(1) == ["committed"]
        wait_until(lambda: not database.waiting)


def test_a_relay_killed_between_publishing_and_deleting_repeats_nothing_also_later(
    database: Database,
    published: Published,
    process_environment: dict[str, str],
    redis: RedisServer,
    settings: DjangoSettings,
) -> None:
    events = [Event(topics=["t"], data=str(number)) for number in range(5)]
    publish_outbox_many(events, using=database.alias)
    crash(process_environment, "after_publishing")
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
        assert max(map(client.ttl, keys)) <= RELEASED_KEY_SECONDS


def stop(process: "subprocess.Popen[str]", database: Database) -> None:
    """Stop the process, but not while it writes to SQLite: then no other process could write."""
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


def test_of_two_relays_one_is_active_and_the_other_takes_over(
    database: Database, published: Published, process_environment: dict[str, str]
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
        first = stack.enter_context(carillon_process("relay", environment=process_environment))
        first.wait_for(r"(relay\.active)")
        second = stack.enter_context(carillon_process("relay", environment=process_environment))
        second.wait_for(r"(Relaying from default)")
        thread = threading.Thread(target=writer)
        thread.start()
        try:
            stop(first.popen, database)
            stopped = time.monotonic()
            second.wait_for(r"(relay\.active)")
            assert time.monotonic() - stopped < LEASE_SECONDS + BUSY_MACHINE_SECONDS
            first.popen.send_signal(signal.SIGCONT)
            first.wait_for(r"(relay\.lost)")
            count = len(published.data())
            published.until(count + 20)
            assert "relay.active" not in first.output.split("relay.lost")[-1]
            second.popen.kill()
            killed = time.monotonic()
            first.wait_for(r"(relay\.active)")
            assert time.monotonic() - killed < LEASE_SECONDS + BUSY_MACHINE_SECONDS
            published.until(len(published.data()) + 20)
        finally:
            stopping.set()
            thread.join(DEADLINE_SECONDS)
        assert published.until(written) == [str(number) for number in range(written)]
        wait_until(lambda: not database.waiting)
        wait_until(lambda: database.relayed)  # a lease that was renewed too late is renewed soon
        assert first.end() == 0
        assert not database.relayed
