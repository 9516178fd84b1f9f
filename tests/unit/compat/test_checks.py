"""The system check for sites that migrate from django-eventstream."""

from pytest_django import Settings as DjangoSettings

from notifications.checks.packages import proxies_are_not_published_to

STORAGE = "notifications.compat.eventstream.Storage"


def test_a_grip_proxy_with_our_storage_is_a_warning(settings: DjangoSettings) -> None:
    assert proxies_are_not_published_to() == []
    settings.GRIP_URL = "http://localhost:5561"
    assert proxies_are_not_published_to() == []
    settings.EVENTSTREAM_STORAGE_CLASS = STORAGE
    [warning] = proxies_are_not_published_to()
    assert warning.id == "carillon.W041"
    assert "GRIP_URL" in warning.msg
