"""The rows of other packages become notifications: in order, with their state, and each once."""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connections
from django.utils import timezone

from notifications import notify
from notifications.inbox import foreign_tables, importing, lists, mark
from notifications.inbox.models import Notification
from notifications.models import OutboxEvent
from tests.unit.inbox.inboxes import Inboxes

Community = foreign_tables.model_of(foreign_tables.Community, "notifications_notification")
Generic = foreign_tables.model_of(foreign_tables.Generic, "generic_notifications_notification")


@pytest.fixture
def tables(inboxes: Inboxes) -> Iterator[None]:
    """The tables of both packages, as Django makes them of the columns that are read."""
    connection = connections[inboxes.alias]
    with connection.schema_editor() as editor:
        for model in (Community, Generic):
            editor.create_model(model)
    yield
    with connection.schema_editor() as editor:
        for model in (Community, Generic):
            editor.delete_model(model)


def add(inboxes: Inboxes, **fields: Any) -> Any:
    users = ContentType.objects.get_for_model(User)
    given = {
        "recipient": inboxes.ada,
        "level": "info",
        "unread": True,
        "actor_content_type": users,
        "actor_object_id": str(inboxes.bob.pk),
        "verb": "liked",
        "timestamp": timezone.now(),
    }
    return Community._default_manager.using(inboxes.alias).create(**(given | fields))


def run(source: str, *more: str) -> str:
    output = StringIO()
    call_command("carillon", "inbox", "import", source, *more, stdout=output)
    return output.getvalue().strip()


@pytest.mark.usefixtures("tables")
def test_rows_of_community_read_as_theirs(inboxes: Inboxes) -> None:
    groups = ContentType.objects.get_for_model(Group)
    group = Group.objects.get_or_create(name="<the group>")[0]
    about = {"target_content_type": groups, "target_object_id": str(group.pk)}
    what = {"action_object_content_type": groups, "action_object_object_id": str(group.pk)}
    first = add(inboxes, timestamp=timezone.now() - timedelta(days=3))
    add(inboxes, **about, unread=False)
    add(inboxes, **what, description="Why not?")
    add(inboxes, **about, **what, data={"extra": 1})
    add(inboxes, deleted=True)
    add(inboxes, timestamp=timezone.now() - timedelta(days=91))
    gone, _ = ContentType.objects.get_or_create(app_label="shop", model="gone")
    add(
        inboxes,
        verb="left",
        actor_object_id="12345678",
        target_content_type=gone,
        target_object_id=1,
    )
    add(inboxes, recipient=inboxes.bob, verb="is bob's")
    notify(inboxes.ada, "message", {"text": "since"})
    inboxes.relay()
    assert run("community") == "Imported: 6. Known already: 0. Older than INBOX_AGE: 1."
    assert inboxes.texts(inboxes.ada) == [
        "since",
        "left",
        "bob liked <the group> on <the group>",
        "bob liked <the group> Why not?",
        "bob liked <the group>",
        "bob liked",
    ]
    states = ["unseen", "unseen", "unseen", "unseen", "read", "unseen"]
    assert inboxes.states(inboxes.ada) == states
    row = Notification.objects.get(number=importing._SOURCES["community"].first_number + first.pk)
    assert (row.created_at, row.pending, row.actor) == (first.timestamp, False, inboxes.bob)
    assert lists.counts(inboxes.ada)["unseen"] == 5


@pytest.mark.usefixtures("tables")
def test_each_row_is_imported_once_and_nobody_is_notified(
    inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "BATCH_ROWS", 10)
    for number in range(25):
        add(inboxes, verb=f"did {number}")
    assert run("community") == "Imported: 25. Known already: 0. Older than INBOX_AGE: 0."
    [newest, *_] = lists.page(inboxes.ada).notifications
    assert mark(inboxes.ada, "read", up_to=newest["number"]) == 25
    add(inboxes, verb="did more")
    assert run("community") == "Imported: 1. Known already: 25. Older than INBOX_AGE: 0."
    assert Notification.objects.count() == 26
    # The events are of the mark, in small ones, and none of the import.
    assert OutboxEvent.objects.using(inboxes.alias).count() == 1
    older = lists.page(inboxes.ada, before=newest["number"], limit=3).notifications
    assert [each["text"] for each in older] == ["bob did 23", "bob did 22", "bob did 21"]


@pytest.mark.usefixtures("tables")
def test_rows_of_generic_keep_their_texts_and_times(inboxes: Inboxes) -> None:
    now = timezone.now()
    read = {"read": now, "subject": "", "text": "read", "actor": inboxes.bob}
    unread = {"subject": "only a subject", "text": "", "url": "javascript:alert(1)"}
    for fields in (read, unread):
        Generic._default_manager.using(inboxes.alias).create(
            recipient=inboxes.ada,
            notification_type="comment",
            added=now - timedelta(days=1),
            **{"url": "/1/", "metadata": {"n": 1}, **fields},
        )
    assert run("generic") == "Imported: 2. Known already: 0. Older than INBOX_AGE: 0."
    assert inboxes.texts(inboxes.ada) == ["only a subject", "read"]
    second, first = lists.page(inboxes.ada).notifications
    assert (first["state"], first["kind"], first["category"]) == (
        "read",
        "generic.comment",
        "comment",
    )
    assert (first["url"], second["url"]) == ("/1/", "")
    row = Notification.objects.get(pk=first["id"])
    assert (row.actor, row.read_at, row.params["metadata"]) == (inboxes.bob, now, {"n": 1})


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_without_their_table_is_named(inboxes: Inboxes) -> None:
    with pytest.raises(CommandError, match="has no table notifications_notification"):
        run("community")
    with pytest.raises(CommandError, match="has no table others"):
        run("community", "--table", "others")
