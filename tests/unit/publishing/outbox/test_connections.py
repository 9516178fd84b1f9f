"""A thread that relays or delivers outlasts the connections of all databases that it reads."""

import pytest
from django.db import OperationalError, connections
from pytest_django.plugin import DjangoDbBlocker

from notifications.publishing.outbox.connections import close_broken
from tests.harness.databases import Database, added_database


def _pid_of(alias: str) -> int:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [pid] = cursor.fetchone()
    return int(pid)


def test_a_connection_that_failed_is_replaced_unless_it_is_the_own(
    postgres: Database, django_db_blocker: DjangoDbBlocker
) -> None:
    with django_db_blocker.unblock(), added_database("other", postgres.url, {}) as other:
        broken = _pid_of(other.alias)
        with connections[postgres.alias].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [broken])
        for _ in range(2):
            with pytest.raises(OperationalError):
                _pid_of(other.alias)
            close_broken(other.alias)
        close_broken(postgres.alias)
        assert _pid_of(other.alias) != broken
        connections[postgres.alias].close()
