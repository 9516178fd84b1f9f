"""The storage by itself: a history that was cut off is told from a channel that was quiet."""

import pytest
from django_eventstream.storage import EventDoesNotExist
from pytest_django import Settings as DjangoSettings

from notifications.compat.eventstream import Storage

KEPT = 3


def test_what_the_log_no_longer_has_is_not_passed_over(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "HISTORY_EVENTS": KEPT}
    storage = Storage()
    trimmed, *kept = [storage.append_event("a", "message", str(n)) for n in range(KEPT + 2)]
    with pytest.raises(EventDoesNotExist) as raised:
        storage.get_events("a", trimmed.id)
    assert raised.value.current_id == kept[-1].id == storage.get_current_id("a")
    assert storage.get_events("a", kept[0].id) == kept[1:]
    assert storage.get_events("b", kept[0].id) == []
