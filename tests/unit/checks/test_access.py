"""The checks of who may subscribe and publish."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings
from django.utils import timezone

from notifications.access import Access, Rules, object_permission, own, public
from notifications.access.identities import api_keys
from notifications.checks.redis_server import Answer
from notifications.models import ApiKey
from tests.unit.checks.test_checks import MEMORY, ids, messages_of

MODULE = "rules_for_checks"


@pytest.fixture
def rules() -> Iterator[Any]:
    """A module whose attributes `ACCESS` can name."""
    module: Any = ModuleType(MODULE)
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


def with_access(name: str) -> dict[str, Any]:
    return {**MEMORY, "ACCESS": f"{MODULE}.{name}"}


# E002: rules that cannot be read


def test_rules_that_cannot_be_imported_are_an_error() -> None:
    [error] = messages_of(CARILLON={**MEMORY, "ACCESS": "no.such.rules"})
    assert error.id == "carillon.E002"
    assert error.is_serious()
    assert "CARILLON['ACCESS']" in error.msg


def test_an_object_that_is_no_access_is_an_error(rules: Any) -> None:
    rules.list = [public("news")]
    [error] = messages_of(CARILLON=with_access("list"))
    assert error.id == "carillon.E002"
    assert "no notifications.access.Access" in error.msg


def test_rules_that_raise_an_exception_are_an_error(rules: Any) -> None:
    def broken() -> Access:
        raise RuntimeError("nothing here works")

    rules.Broken = type("Broken", (Access,), {"__init__": lambda _: broken()})
    [error] = messages_of(CARILLON=with_access("Broken"))
    assert (error.id, error.msg) == ("carillon.E002", "CARILLON['ACCESS']: nothing here works")


def test_invalid_settings_are_one_error_and_not_two() -> None:
    assert ids(CARILLON={**MEMORY, "ACCESS": "no dots"}, deploy=True) == ["carillon.E001"]


# W009: permissions of objects


def test_permissions_of_objects_need_a_backend_that_supports_them(rules: Any) -> None:
    rules.mine = Rules(subscribe=[own("user.{id}"), object_permission("auth.view_user", "a.{pk}")])
    assert ids(CARILLON=with_access("mine")) == ["carillon.W009"]
    backends = ["django.contrib.auth.backends.ModelBackend", "guardian.backends.Mine"]
    assert ids(CARILLON=with_access("mine"), AUTHENTICATION_BACKENDS=backends) == []
    rules.mine = Rules(subscribe=[own("user.{id}")])
    assert ids(CARILLON=with_access("mine")) == []


# W010: everything is public


class Open(Access):
    def is_public(self, topic: str) -> bool:
        return True


@pytest.mark.parametrize("everything", [Open, Rules(subscribe=[public("*")])])
def test_rules_that_make_everything_public_get_a_warning(rules: Any, everything: object) -> None:
    rules.everything = everything
    assert ids(CARILLON=with_access("everything"), deploy=True) == ["carillon.W010"]
    assert ids(CARILLON=with_access("everything")) == []


def test_a_setting_that_makes_everything_public_gets_a_warning() -> None:
    assert ids(CARILLON={**MEMORY, "PUBLIC_TOPICS": ["*"]}, deploy=True) == ["carillon.W010"]
    assert ids(CARILLON={**MEMORY, "PUBLIC_TOPICS": ["news", "demo."]}, deploy=True) == []


# W011: origins


def test_an_origin_without_tls_gets_a_warning_unless_it_is_this_machine() -> None:
    def ids_for(*origins: str) -> list[str | None]:
        return ids(CARILLON={**MEMORY, "CORS_ALLOWED_ORIGINS": origins}, deploy=True)

    assert ids_for("https://a.example", "http://b.example") == ["carillon.W011"]
    assert ids_for("https://a.example", "http://localhost:3000") == []


@pytest.mark.parametrize("origin", ["*", "https://*.example", "https://*"])
def test_a_wildcard_origin_is_an_error(origin: str) -> None:
    assert ids(CARILLON={**MEMORY, "CORS_ALLOWED_ORIGINS": [origin]}) == ["carillon.E001"]


# W012 to W014: settings that are more convenient than safe


@pytest.mark.parametrize(
    ("settings", "id"),
    [
        ({"CARILLON": {**MEMORY, "PUBLISH_KEYS": ["k" * 16]}}, "carillon.W012"),
        ({"CARILLON": {**MEMORY, "QUERY_TOKENS": True}}, "carillon.W013"),
        ({"SESSION_COOKIE_SAMESITE": "None"}, "carillon.W014"),
        ({"SESSION_COOKIE_SAMESITE": False}, "carillon.W014"),
    ],
)
def test_convenient_settings_get_a_warning_in_deployment(settings: Any, id: str) -> None:
    with override_settings(SILENCED_SYSTEM_CHECKS=[]):
        assert ids(**settings, deploy=True) == [id]
        assert ids(**settings) == []


# W015: keys that never expire


def create_key(*, expires: bool, revoked: bool = False) -> ApiKey:
    now = timezone.now()
    key = ApiKey(
        name="a service",
        publish=["orders"],
        expires_at=now + timedelta(days=1) if expires else None,
        revoked_at=now if revoked else None,
    )
    api_keys.issue(key)
    key.save()
    return key


def key_warnings(*databases: str) -> list[str]:
    messages = run_checks(include_deployment_checks=True, databases=databases or None)
    return [message.msg for message in messages if message.id == "carillon.W015"]


@pytest.mark.django_db
def test_keys_that_never_expire_are_named_without_their_secret() -> None:
    unlimited, expiring, revoked = (
        create_key(expires=False),
        create_key(expires=True),
        create_key(expires=False, revoked=True),
    )
    [warning] = key_warnings("default")
    assert f"crl_{unlimited.prefix}_…" in warning
    assert expiring.prefix not in warning
    assert revoked.prefix not in warning
    assert unlimited.digest not in warning


def test_only_a_database_that_is_named_is_queried() -> None:
    assert key_warnings() == []


# W016: Redis


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://redis.example.com:6379/0", ["carillon.W016"]),
        ("redis://:secret@93.184.216.34/0", ["carillon.W016"]),
        ("rediss://redis.example.com:6379/0", []),
        ("redis://localhost:1/0", []),
        ("redis://127.0.0.1:1/0", []),
        ("redis://[::1]:1/0", []),
        ("redis://redis:1/0", []),
        ("redis://10.1.2.3:1/0", []),
        ("redis://redis.shop.svc:1/0", []),
        ("unix:///run/redis.sock", []),
        ("redis+sentinel://:secret@redis,redis.example.com/main", ["carillon.W016"]),
        ("rediss+sentinel://redis.example.com/main", []),
        ("redis+cluster://10.1.2.3,10.1.2.4:6380", []),
    ],
)
def test_a_redis_on_another_network_needs_tls(
    url: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("notifications.checks.redis_server._ask", lambda *_: Answer())
    assert ids(CARILLON={"REDIS_URL": url}, deploy=True) == expected
    assert not any(
        "secret" in message.msg for message in messages_of(CARILLON={"REDIS_URL": url}, deploy=True)
    )
