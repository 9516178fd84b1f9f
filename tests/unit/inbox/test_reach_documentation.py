"""The Python of docs/reach.md runs, and does what the page says."""

import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from notifications.conf import Settings
from notifications.inbox import Choice, Push, kinds
from notifications.inbox.channels import Channel
from notifications.inbox.delivery import email
from notifications.inbox.delivery.states import DeliveryState, Reason
from notifications.inbox.push.keys import make_key
from tests.harness.servers import ROOT
from tests.unit.inbox.shop import no_kinds

PAGE = (ROOT / "docs" / "reach.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def blocks_of(file: str) -> list[str]:
    return [block for block in BLOCKS if block.startswith(f"# {file}")]


@pytest.fixture
def declared() -> Iterator[None]:
    """What the page declares, from its beginning to its end."""
    with no_kinds():
        for block in blocks_of("shop/kinds.py"):
            exec(compile(block, "docs/reach.md", "exec"), {})
        yield


@pytest.mark.usefixtures("declared")
def test_the_kinds_ask_for_what_the_page_explains() -> None:
    assert {
        name: each and each.after
        for name, kind in kinds._kinds.items()
        for each in [kinds.email_of(kind)]
    } == {
        "order.new": timedelta(hours=1),
        "order.refused": timedelta(minutes=5),
        "parcel.sent": timedelta(hours=1),
        "parcel.here": timedelta(hours=1),
        "login.new": None,
    }
    pushes = {name: kinds.push_of(kind) for name, kind in kinds._kinds.items()}
    assert {name: push.ttl for name, push in pushes.items() if push} == {
        "parcel.sent": timedelta(days=1),
        "parcel.here": timedelta(hours=4),
    }
    explained = PAGE.partition("| of `Push(…)` | |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", explained, re.MULTILINE) == [
        field.name for field in fields(Push)
    ]


@pytest.mark.usefixtures("declared")
def test_the_categories_leave_the_choices_of_the_table() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert {str(choice) for choice in Choice} <= set(explained)
    orders, security, offers = map(kinds.find_category, ("orders", "security", "offers"))
    assert orders.choice(Channel.EMAIL) is Choice.ON
    assert orders.choice(Channel.IN_APP) is Choice.ALWAYS
    assert security.choice(Channel.EMAIL) is Choice.ALWAYS
    assert offers.choice(Channel.EMAIL) is Choice.OFF


def test_the_settings_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key()
    monkeypatch.setenv("CARILLON_PUSH_KEY", key)
    keys = []
    for block in blocks_of("settings.py"):
        names: dict[str, Any] = {}
        exec(compile(block, "docs/reach.md", "exec"), names)
        settings = Settings.model_validate(names["CARILLON"])
        assert settings.SITE_URL == "https://shop.example"
        keys.append(settings.PUSH_KEY)
    assert keys == [None, key]


def test_every_reason_and_every_variable_of_a_template_is_explained() -> None:
    table = PAGE.partition("| reason | |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z-]+)`", table)) - {"detail"} == set(map(str, Reason))
    states = ", ".join(f"{state.value} {state.name.lower()}" for state in DeliveryState)
    assert states.replace("waiting", "waits").replace("_", " ").replace(" in d", " in a d") in PAGE
    variables = PAGE.partition("| variable | |")[2].partition("\n\n")[0]
    source = (ROOT / "notifications" / "inbox" / "delivery" / "email.py").read_text()
    context = source.partition("def _context")[2].partition("def _headers")[0]
    used = set(re.findall(r'^\s+"(\w+)":', context, re.MULTILINE))
    assert used <= set(re.findall(r"`(\w+)`", variables))
    assert f"{email.TIMEOUT_SECONDS:.0f} seconds" in PAGE
