"""`manage.py carillon keys`: creates, lists and revokes keys, and refuses bad arguments."""

import re
import shlex
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError
from django.test import RequestFactory
from django.utils import timezone
from pytest_django import Settings as DjangoSettings

from notifications.access.identities.api_keys import authenticate_key
from notifications.access.identities.authentication import authenticate
from notifications.access.identities.base import Identity
from notifications.errors import Unauthenticated
from notifications.models import ApiKey
from tests.harness.servers import ROOT

pytestmark = pytest.mark.django_db


def keys(*arguments: str) -> str:
    """What the command prints to standard output, without the hints on standard error."""
    output = StringIO()
    call_command("carillon", "keys", *arguments, stdout=output, stderr=StringIO())
    return output.getvalue().strip()


def identity(text: str) -> Identity:
    return async_to_sync(authenticate_key)(text)


def test_the_commands_in_the_documentation_work() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    lines = re.findall(r"^\./run carillon keys (.*)$", text, re.MULTILINE)
    created, listed, revoked = (keys(*shlex.split(line)) for line in lines)
    assert re.fullmatch(r"crl_[a-z0-9]{8}_[A-Za-z0-9]{43}", created)
    assert "active" in listed
    assert "is revoked" in revoked


def test_keys_are_read_where_they_are_written(settings: DjangoSettings) -> None:
    """A replica that lags may still have as valid what another process has revoked."""
    settings.DATABASE_ROUTERS = ["tests.harness.routers.ReadsOfKeys"]
    text = keys("create", "a", "--publish", "news")
    request = RequestFactory().get("/", headers={"Authorization": f"Bearer {text}"})
    assert async_to_sync(authenticate)(request).name == f"key:{text[4:12]}"
    assert "active" in keys("list")
    assert "is revoked" in keys("revoke", "a")
    with pytest.raises(Unauthenticated):
        async_to_sync(authenticate)(request)


@pytest.mark.parametrize("action", [[], ["create"], ["list"], ["revoke"]])
def test_each_action_has_help(capsys: pytest.CaptureFixture[str], action: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        keys(*action, "--help")
    assert caught.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_create_prints_a_key_that_works_and_nothing_else() -> None:
    text = keys("create", "order service", "--publish", "orders", "news.*", "--expires", "90d")
    (key,) = ApiKey.objects.all()
    assert (key.name, key.subscribe, key.publish) == ("order service", [], ["orders", "news.*"])
    assert identity(text).name == f"key:{key.prefix}"
    assert key.expires_at is not None
    assert abs(key.expires_at - timezone.now() - timedelta(days=90)) < timedelta(minutes=1)


def test_a_key_is_valid_for_a_year_by_default() -> None:
    keys("create", "a", "--subscribe", "news")
    keys("create", "b", "--subscribe", "news", "--never-expires")
    year, never = ApiKey.objects.order_by("name")
    assert year.expires_at is not None
    assert abs(year.expires_at - timezone.now() - timedelta(days=365)) < timedelta(minutes=1)
    assert never.expires_at is None


def test_the_hint_to_copy_a_key_goes_to_standard_error() -> None:
    output, errors = StringIO(), StringIO()
    arguments = ["carillon", "keys", "create", "a", "--publish", "news"]
    call_command(*arguments, stdout=output, stderr=errors)
    assert "not shown again" in errors.getvalue()
    assert output.getvalue().strip() not in errors.getvalue()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["a"], "needs a pattern"),
        (["a", "--publish", "a..b"], "publish: The pattern 'a..b'"),
        (["a", "--subscribe", "{x}.{x}"], "subscribe: .* twice"),
        (["a" * 101, "--publish", "a"], "name: .*100"),
        (["a", "--publish", "a", "--expires", "soon"], "not a duration"),
        (["a", "--publish", "a", "--expires", "0d"], "not a duration"),
        (["a", "--publish", "a", "--expires", "1d", "--never-expires"], "not allowed with"),
        ([], "NAME"),
    ],
)
def test_an_invalid_key_is_refused_in_one_line(arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        keys("create", *arguments)
    assert not ApiKey.objects.exists()


def test_the_list_shows_what_keys_allow_and_never_the_keys() -> None:
    text = keys("create", "a", "--publish", "news", "orders")
    keys("create", "b", "--subscribe", "news", "--never-expires")
    keys("revoke", "b")
    ApiKey.objects.filter(name="a").update(expires_at=timezone.now())
    heading, *rows = keys("list").splitlines()
    assert heading.split() == ["KEY", "NAME", "STATE", "EXPIRES", "SUBSCRIBE", "PUBLISH"]
    assert [row.split()[1:3] for row in rows] == [["b", "revoked"], ["a", "expired"]]
    assert "news orders" in rows[1]
    assert text.rpartition("_")[2] not in keys("list")


@pytest.mark.parametrize("by", ["name", "prefix", "with crl_", "whole"])
def test_a_key_is_revoked_by_its_name_or_its_prefix(by: str) -> None:
    text = keys("create", "a b", "--publish", "news")
    keys("create", "other", "--publish", "news")
    prefix = text.split("_")[1]
    argument = {"name": "a b", "prefix": prefix, "with crl_": f"crl_{prefix}", "whole": text}[by]
    output = keys("revoke", argument)
    assert prefix in output
    assert text not in output
    with pytest.raises(Unauthenticated):
        identity(text)
    assert ApiKey.objects.filter(revoked_at=None).count() == 1


def test_a_revoked_key_keeps_its_date() -> None:
    keys("create", "a", "--publish", "news")
    keys("revoke", "a")
    before = ApiKey.objects.get().revoked_at
    assert "already" in keys("revoke", "a")
    assert ApiKey.objects.get().revoked_at == before


def test_the_valid_key_is_revoked_where_a_name_was_used_again() -> None:
    for _ in range(2):
        keys("create", "a", "--publish", "news")
        keys("revoke", "a")
    assert not ApiKey.objects.filter(revoked_at=None).exists()


def test_a_name_of_several_valid_keys_revokes_none() -> None:
    for _ in range(2):
        keys("create", "a", "--publish", "news")
    with pytest.raises(CommandError, match="Several keys") as caught:
        keys("revoke", "a")
    assert all(key.prefix in str(caught.value) for key in ApiKey.objects.all())
    assert not ApiKey.objects.exclude(revoked_at=None).exists()


def test_an_unknown_key_cannot_be_revoked() -> None:
    with pytest.raises(CommandError, match="No key"):
        keys("revoke", "nobody")


def test_a_missing_table_is_an_error_that_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing_table(*_: Any) -> None:
        raise DatabaseError("no such table")

    monkeypatch.setattr(ApiKey.objects, "all", missing_table)
    with pytest.raises(CommandError, match="migrated"):
        keys("list")
