"""Many keys in one statement, of whatever type the column is."""

from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.db import connections
from django.db.models import CharField, QuerySet
from django.utils import timezone

from notifications import notify
from notifications.inbox.keys import IsAmong, array_of
from notifications.inbox.models import Notification
from tests.unit.inbox.inboxes import Inboxes

STRANGE = ["a,b", "{c}", 'd"e', "f\\g", "NULL", " ", "%s", "h'i", "ü", "\\", '"']


def parameters(found: QuerySet[Notification], alias: str) -> int:
    _, parameters = found.query.get_compiler(alias).as_sql()
    return len(parameters)


def test_rows_are_found_by_their_ids_and_by_their_people(inboxes: Inboxes) -> None:
    notify([inboxes.ada, inboxes.bob], "message", {"text": "x"})
    rows = Notification.objects.using(inboxes.alias)
    ids = dict(rows.values_list("recipient_id", "pk"))
    of_ada = ids[inboxes.ada.pk]
    assert [row.pk for row in rows.filter(IsAmong("pk", [of_ada, uuid4()]))] == [of_ada]
    assert [row.pk for row in rows.filter(IsAmong("recipient", [inboxes.ada.pk, -1]))] == [of_ada]
    assert set(rows.filter(IsAmong("pk", ids.values()))) == set(rows)
    assert not rows.filter(IsAmong("pk", []))


def test_keys_of_any_characters_are_found(inboxes: Inboxes) -> None:
    rows = Session.objects.using(inboxes.alias)
    rows.bulk_create(Session(pk=key, expire_date=timezone.now()) for key in [*STRANGE, "other"])
    found = rows.filter(IsAmong("pk", STRANGE)).values_list("pk", flat=True)
    assert sorted(found) == sorted(STRANGE)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_they_are_one_parameter_of_postgresql(inboxes: Inboxes) -> None:
    found = Notification.objects.filter(IsAmong("pk", [uuid4() for _ in range(9)]))
    assert parameters(found, inboxes.alias) == 1


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.parametrize("type", ["char(26)", "character (26)", "varchar(26)"])
def test_an_array_has_whole_keys_whatever_the_length_of_the_column(
    inboxes: Inboxes, type: str
) -> None:
    class Key(CharField):  # type: ignore[type-arg] # it is not generic when it runs
        def db_type(self, connection: object) -> str:
            return type

    connection = connections[inboxes.alias]
    array, keys = array_of(Key(), ["01ARZ3NDEKTSV4RRFFQ69G5FAV"], connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT unnest({array})", [keys])
        assert cursor.fetchall() == [("01ARZ3NDEKTSV4RRFFQ69G5FAV",)]
