"""The checks of the inbox."""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from pytest_django import Settings as DjangoSettings

from notifications.access import Access, Rules, authenticated, linked, own, public
from tests.unit.checks.test_checks import MEMORY, ids, messages_of

MODULE = "rules_of_inboxes"


class ElsewhereRouter:
    def db_for_write(self, model: Any, **_: object) -> str | None:
        return "elsewhere" if model._meta.app_label == "carillon_inbox" else None


@pytest.fixture
def module() -> Iterator[Any]:
    module: Any = ModuleType(MODULE)
    sys.modules[MODULE] = module
    yield module
    del sys.modules[MODULE]


def test_an_inbox_in_a_database_without_a_relay_is_an_error() -> None:
    routers = [f"{__name__}.ElsewhereRouter"]
    [error] = messages_of(DATABASE_ROUTERS=routers, CARILLON=MEMORY)
    assert error.id == "carillon.E008"
    assert "'elsewhere'" in error.msg
    assert ids(CARILLON=MEMORY) == []


def test_development_without_a_relay_gets_a_warning() -> None:
    [warning] = messages_of(DEBUG=True, CARILLON=MEMORY)
    assert warning.id == "carillon.W042"
    assert "carillon relay" in str(warning.hint)
    assert ids(DEBUG=True, CARILLON={**MEMORY, "OUTBOX": "in-process"}) == []
    assert ids(DEBUG=False, CARILLON=MEMORY) == []


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (Rules(subscribe=[public("news"), linked("*")]), ["carillon.W043"]),
        (Rules(subscribe=[own("users.{id}")]), ["carillon.W043"]),
        (Rules(subscribe=[own("user.{id}")]), []),
        (Rules(subscribe=[authenticated("*")]), []),
        (Access(), []),  # it shows nothing
    ],
)
def test_rules_that_keep_people_from_their_own_topic_get_a_warning(
    module: Any, rules: Access, expected: list[str]
) -> None:
    module.rules = rules
    assert ids(CARILLON={**MEMORY, "ACCESS": f"{MODULE}.rules"}) == expected


@pytest.mark.parametrize("path", ["no.such.function", "sys.path"])
def test_a_language_that_cannot_be_asked_for_is_an_error(path: str) -> None:
    [error] = messages_of(CARILLON={**MEMORY, "INBOX_LANGUAGE": path})
    assert error.id == "carillon.E009"
    assert "CARILLON['INBOX_LANGUAGE']" in error.msg


def test_a_site_without_the_inbox_gets_no_message(settings: DjangoSettings, module: Any) -> None:
    module.rules = Rules()
    without = [app for app in settings.INSTALLED_APPS if app != "notifications.inbox"]
    wrong = {**MEMORY, "ACCESS": f"{MODULE}.rules", "INBOX_LANGUAGE": "no.such.function"}
    assert ids(INSTALLED_APPS=without, DEBUG=True, CARILLON=wrong) == []
