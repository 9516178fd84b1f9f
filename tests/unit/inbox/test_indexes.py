"""Indexes of what few notifications have: they have no entry for all others."""

from collections.abc import Mapping
from typing import Any

import pytest
from django.core import checks
from django.db import connections

from notifications.inbox.models import Notification
from notifications.inbox.states import UNREAD
from tests.unit.inbox.inboxes import Inboxes

PARTIAL = {
    "carillon_actors": ["actor_type_id", "actor_id"],
    "carillon_targets": ["target_type_id", "target_id"],
    "carillon_expiry": ["expires_at"],
    "carillon_one_to_replace": ["recipient_id", "replaces"],
}


def indexes(alias: str) -> Mapping[str, Any]:
    connection = connections[alias]
    with connection.cursor() as cursor:
        return connection.introspection.get_constraints(cursor, Notification._meta.db_table)


def test_every_database_has_them_and_none_warns_of_them(inboxes: Inboxes) -> None:
    found = indexes(inboxes.alias)
    assert {name: found[name]["columns"] for name in PARTIAL} == PARTIAL
    ours = [
        each for each in checks.run_checks(databases=[inboxes.alias]) if each.obj is Notification
    ]
    assert ours == []


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_postgresql_has_no_entry_for_rows_without_a_value(inboxes: Inboxes) -> None:
    with connections[inboxes.alias].cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = %s AND indexdef LIKE %s",
            [Notification._meta.db_table, "%IS NOT NULL%"],
        )
        assert {name for (name,) in cursor.fetchall()} == set(PARTIAL)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("carillon_actors", {"actor_type": 1, "actor_id": "5"}),
        ("carillon_targets", {"target_type": 1, "target_id": "5"}),
        ("carillon_expiry", {"expires_at__lte": "2026-01-01T00:00Z"}),
        ("carillon_counts", {"recipient": 5, "state__in": UNREAD, "number__isnull": False}),
        ("carillon_one_to_replace", {"recipient__in": [5, 6], "replaces": "name"}),
    ],
)
def test_the_queries_of_ours_can_use_them(
    inboxes: Inboxes, name: str, condition: Mapping[str, Any]
) -> None:
    with connections[inboxes.alias].cursor() as cursor:
        # The rows of other tests are no basis for a plan, and nor is how many there were.
        table = f"'{Notification._meta.db_table}'::regclass"
        cursor.execute(f"DELETE FROM pg_statistic WHERE starelid = {table}")
        cursor.execute(f"UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE oid = {table}")
        cursor.execute("SET enable_seqscan = off")
        try:
            assert name in Notification.objects.using(inboxes.alias).filter(**condition).explain()
        finally:
            cursor.execute("RESET enable_seqscan")
