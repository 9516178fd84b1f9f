"""`manage.py carillon keys`: made, listed, revoked, and what is refused."""

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
from django.utils import timezone

from notifications.access.identities.api_keys import by_key
from notifications.access.identities.base import Identity
from notifications.errors import Unauthenticated
from notifications.models import ApiKey
from tests.harness.servers import ROOT

pytestmark = pytest.mark.django_db


def keys(*arguments: str) -> str:
    """What is printed, and nothing that is only said to whoever sits there."""
    output = StringIO()
    call_command("carillon", "keys", *arguments, stdout=output, stderr=StringIO())
    return output.getvalue().strip()


def identity(text: str) -> Identity:
    return async_to_sync(by_key)(text)


def test_the_lines_of_the_documentation_do_what_they_say() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    lines = re.findall(r"^\./run carillon keys (.*)$", text, re.MULTILINE)
    made, listed, revoked = (keys(*shlex.split(line)) for line in lines)
    assert re.fullmatch(r"crl_[a-z0-9]{8}_[A-Za-z0-9]{43}", made)
    assert "active" in listed
    assert "is revoked" in revoked


@pytest.mark.parametrize("action", [[], ["create"], ["list"], ["revoke"]])
def test_help_is_there_for_the_asking(
    capsys: pytest.CaptureFixture[str], action: list[str]
) -> None:
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


def test_a_key_lives_a_year_unless_told() -> None:
    keys("create", "a", "--subscribe", "news")
    keys("create", "b", "--subscribe", "news", "--never-expires")
    year, never = ApiKey.objects.order_by("name")
    assert year.expires_at is not None
    assert abs(year.expires_at - timezone.now() - timedelta(days=365)) < timedelta(minutes=1)
    assert never.expires_at is None


def test_create_says_to_copy_it_where_a_script_does_not_read() -> None:
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
def test_what_cannot_be_a_key_is_refused_in_a_line(arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        keys("create", *arguments)
    assert not ApiKey.objects.exists()


def test_the_list_tells_what_keys_allow_and_never_the_keys() -> None:
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
    given = {"name": "a b", "prefix": prefix, "with crl_": f"crl_{prefix}", "whole": text}[by]
    said = keys("revoke", given)
    assert prefix in said
    assert text not in said
    with pytest.raises(Unauthenticated):
        identity(text)
    assert ApiKey.objects.filter(revoked_at=None).count() == 1


def test_a_key_that_was_revoked_keeps_its_date() -> None:
    keys("create", "a", "--publish", "news")
    keys("revoke", "a")
    before = ApiKey.objects.get().revoked_at
    assert "before" in keys("revoke", "a")
    assert ApiKey.objects.get().revoked_at == before


def test_of_a_name_that_was_used_again_the_living_key_is_revoked() -> None:
    for _ in range(2):
        keys("create", "a", "--publish", "news")
        keys("revoke", "a")
    assert not ApiKey.objects.filter(revoked_at=None).exists()


def test_a_name_of_several_living_keys_revokes_none() -> None:
    for _ in range(2):
        keys("create", "a", "--publish", "news")
    with pytest.raises(CommandError, match="Several keys") as caught:
        keys("revoke", "a")
    assert all(key.prefix in str(caught.value) for key in ApiKey.objects.all())
    assert not ApiKey.objects.exclude(revoked_at=None).exists()


def test_a_key_that_is_not_there_cannot_be_revoked() -> None:
    with pytest.raises(CommandError, match="No key"):
        keys("revoke", "nobody")


def test_without_its_table_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise DatabaseError("no such table")

    monkeypatch.setattr(ApiKey.objects, "all", gone)
    with pytest.raises(CommandError, match="migrated"):
        keys("list")
