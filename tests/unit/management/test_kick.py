"""`manage.py carillon kick`: ending streams from a shell."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings as DjangoSettings

from notifications.conf import get_settings
from notifications.log.factory import memory_store
from notifications.management.carillon import kick as command
from notifications.publishing import control

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_log")]


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


def kick(*arguments: str) -> str:
    output = StringIO()
    call_command("carillon", "kick", *arguments, stdout=output)
    return output.getvalue().strip()


def ordered() -> list[tuple[str, ...]]:
    return [each.subjects for each in memory_store(get_settings(), quiet=True).controls]


def test_a_name_is_a_users_and_otherwise_a_topic(ada: User) -> None:
    assert kick("ada") == "Every process was told to end the streams of the user ada."
    assert kick("orders.7") == "Every process was told to end the streams that hear orders.7."
    assert ordered() == [(f"user:{ada.pk}",), ("topic:orders.7",)]


def test_which_of_both_is_meant_can_be_said(ada: User) -> None:
    kick("ada", "--topic")
    kick("ada", "--user")
    assert ordered() == [("topic:ada",), (f"user:{ada.pk}",)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(["bob", "--user"], "There is no user called 'bob'."), (["a\n"], "control character")],
)
def test_what_is_neither_is_refused_in_a_line(arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        kick(*arguments)
    assert ordered() == []


def test_a_log_that_is_away_is_told_of(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"LOG": "redis", "REDIS_URL": "redis://127.0.0.1:1/9", "GRANT_MAX_AGE": 1}
    settings.CARILLON = away
    monkeypatch.setattr(control, "_publisher", control.ControlPublisher())
    monkeypatch.setattr(command, "PATIENCE", 0.2)
    with pytest.raises(CommandError, match="no other process was told"):
        kick("news")
