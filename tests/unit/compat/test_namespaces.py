"""django-eventstream's API in a site of several tenants: channels are apart, as topics are."""

import pytest
from django_eventstream.storage import EventDoesNotExist
from pytest_django import Settings as DjangoSettings

from notifications.compat.eventstream.encoder import EventstreamEncoder
from notifications.compat.eventstream.proxy import publish_kick
from notifications.compat.eventstream.request import StreamRequest, make_grant
from notifications.compat.eventstream.send import send
from notifications.compat.eventstream.storage import Storage
from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.hub.recheck import applies_to, concerns
from notifications.log.cursors import Cursor, make_position
from notifications.log.entries import ResetReason
from notifications.log.factory import memory_store
from notifications.log.records import Entry
from notifications.topics import NAMESPACE_END


@pytest.fixture(autouse=True)
def tenants(own_log: None, settings: DjangoSettings) -> None:
    settings.CARILLON = {
        **settings.CARILLON,
        "NAMESPACE": "tests.harness.tenancy.ContextTenancy",
    }


def test_a_channel_and_the_users_that_an_event_skips_are_of_the_tenant_that_sends() -> None:
    with namespaces.enter("one"):
        send("room", "message", "hi", [5])
    entry = Entry.of(*memory_store(get_settings(), quiet=True).records)
    assert entry.topics == (f"one{NAMESPACE_END}room",)
    assert entry.skip == frozenset({f"user:one{NAMESPACE_END}5"})


def test_the_storage_has_the_events_of_the_tenant_only() -> None:
    storage = Storage()
    for tenant in ("one", "two"):
        with namespaces.enter(tenant):
            storage.append_event("room", "message", f"of {tenant}")
    with namespaces.enter("two"):
        [event] = storage.get_events("room", 0)
    assert (event.channel, event.data) == ("room", "of two")
    with namespaces.enter("one"), pytest.raises(EventDoesNotExist):
        storage.get_events("room", 12345)


def test_a_kick_concerns_the_user_of_its_tenant() -> None:
    request = StreamRequest(None, None, ("room",), ("room",), {}, (), can_change=True)
    at = Cursor("e", make_position(1))
    one, two = [make_grant(request, at, namespace=tenant) for tenant in ("one", "two")]
    with namespaces.enter("one"):
        publish_kick("anonymous", "room")
    [control] = memory_store(get_settings(), quiet=True).controls
    assert applies_to(control, one.log_topics)
    assert (concerns(control, one), concerns(control, two)) == (True, False)


def test_a_stream_names_its_channels_as_the_client_does() -> None:
    encoder = EventstreamEncoder(("room",), ("room",))
    topic, at = f"one{NAMESPACE_END}room", Cursor("e", make_position(7))
    block = encoder.opening(at, ResetReason.TRIMMED, [topic])
    assert b'{"channels": ["room"]}' in block
    since = make_position(9)
    started = encoder.for_limited_history({topic: since}).cursor(at)
    assert started == encoder.for_limited_history({"room": since}).cursor(at) != encoder.cursor(at)
