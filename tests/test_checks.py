"""What `manage.py check` says."""

from typing import Any

import pytest
from django.core.checks import Error, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings


def found(carillon: dict[str, Any]) -> list[tuple[str | None, str]]:
    with override_settings(CARILLON=carillon):
        messages = run_checks()
    return [(message.id, message.msg) for message in messages if isinstance(message, Error)]


def test_settings_that_are_right_have_nothing_to_say() -> None:
    assert found({"LOG": "memory"}) == []


def test_each_setting_that_is_wrong_is_an_error_of_its_own() -> None:
    errors = found({"LOG": "memory", "NOPE": 1, "HISTORY_AGE": 0})
    assert [id for id, _ in errors] == ["carillon.E001", "carillon.E001"]
    assert sorted(message.partition(":")[0] for _, message in errors) == [
        "CARILLON['HISTORY_AGE']",
        "CARILLON['NOPE']",
    ]


def test_a_wrong_setting_fails_the_command() -> None:
    with (
        override_settings(CARILLON={"LOG": "memory", "NOPE": 1}),
        pytest.raises(SystemCheckError, match=r"carillon\.E001.*NOPE"),
    ):
        call_command("check")
