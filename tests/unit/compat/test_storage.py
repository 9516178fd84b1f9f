"""The storage tells a history that was trimmed from a channel without events."""

import pytest
from django_eventstream.storage import EventDoesNotExist
from pytest_django import Settings as DjangoSettings

from notifications.compat.eventstream import Storage

HISTORY_EVENTS = 3


def test_trimmed_events_are_not_passed_over(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "HISTORY_EVENTS": HISTORY_EVENTS}
    storage = Storage()
    trimmed, *kept = [
        storage.append_event("a", "message", str(n)) for n in range(HISTORY_EVENTS + 2)
    ]
    with pytest.raises(EventDoesNotExist) as raised:
        storage.get_events("a", trimmed.id)
    assert raised.value.current_id == kept[-1].id == storage.get_current_id("a")
    assert storage.get_events("a", kept[0].id) == kept[1:]
    assert storage.get_events("b", kept[0].id) == []
