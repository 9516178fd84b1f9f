"""`manage.py carillon kick`: ends streams from a shell."""

from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import BaseCommand, CommandError, call_command
from pytest_django import Settings as DjangoSettings

from notifications.conf import get_settings
from notifications.log.factory import memory_store
from notifications.management.carillon import kick as kick_command
from notifications.publishing import control

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_log")]


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada")


def kick(*arguments: str) -> str:
    output = StringIO()
    call_command("carillon", "kick", *arguments, stdout=output)
    return output.getvalue().strip()


def control_entries() -> list[tuple[str, ...]]:
    return [entry.subjects for entry in memory_store(get_settings(), quiet=True).controls]


def test_a_target_is_a_users_name_or_else_a_topic(ada: User) -> None:
    assert kick("ada") == "Every process was ordered to end the streams of the user ada."
    ordered = "Every process was ordered to end the streams subscribed to orders.7."
    assert kick("orders.7") == ordered
    assert control_entries() == [(f"user:{ada.pk}",), ("topic:orders.7",)]


def test_an_option_chooses_between_user_and_topic(ada: User) -> None:
    kick("ada", "--topic")
    kick("ada", "--user")
    assert control_entries() == [("topic:ada",), (f"user:{ada.pk}",)]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(["bob", "--user"], "There is no user called 'bob'."), (["a\n"], "control character")],
)
def test_a_target_that_is_neither_is_refused_in_one_line(arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        kick(*arguments)
    assert control_entries() == []


def test_an_unreachable_log_is_reported(
    settings: DjangoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = {"LOG": "redis", "REDIS_URL": "redis://127.0.0.1:1/9", "GRANT_MAX_AGE": 1}
    settings.CARILLON = unreachable
    monkeypatch.setattr(control, "_publisher", control.ControlPublisher())
    options = {"target": "news", "user": False, "topic": False}
    with pytest.raises(CommandError, match="no other process was notified"):
        kick_command.handle(BaseCommand(), options, flush_seconds=0.2)
