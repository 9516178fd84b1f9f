"""django-impersonate: an impersonation may have an end in time."""

import pytest
from pytest_django import Settings as DjangoSettings

from notifications.access.identities.impersonate import end_of


@pytest.mark.parametrize(
    ("longest", "session", "end"),
    [
        (None, {"_impersonate_start": 1_000.0}, None),
        (60, {"_impersonate_start": 1_000.0}, 1_060.0),
        (60, {}, None),
        (60, {"_impersonate_start": "odd"}, None),
    ],
)
def test_it_ends_when_it_has_lasted_as_long_as_it_may(
    settings: DjangoSettings, longest: int | None, session: dict[str, object], end: float | None
) -> None:
    settings.IMPERSONATE = {"MAX_DURATION": longest}
    assert end_of(session) == end


def test_without_the_package_nothing_limits_it() -> None:
    assert end_of({"_impersonate_start": 1_000.0}) is None
