"""The Python of docs/inbox.md runs, and does what the page says."""

import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.models.signals import post_save
from django.test import RequestFactory

from notifications.inbox import kinds
from notifications.inbox.models import Notification
from tests.harness.row_classes.models import Order
from tests.harness.servers import ROOT
from tests.unit.inbox.inboxes import Inboxes

BLOCKS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs/inbox.md").read_text(), re.DOTALL | re.MULTILINE
)


@pytest.fixture
def names(inboxes: Inboxes) -> Iterator[dict[str, Any]]:
    """What all blocks have defined, in the order of the page."""
    shop: Any = ModuleType("shop.models")
    shop.Order = Order
    sys.modules |= {"shop": ModuleType("shop"), "shop.models": shop}
    known, kept = dict(kinds._kinds), dict(kinds._categories)
    for name in known:
        if name.startswith("order."):  # other tests have kinds of these names
            kinds._kinds.pop(name)
    with connections[inboxes.alias].schema_editor() as editor:
        editor.create_model(Order)
    try:
        yield run_blocks(inboxes)
    finally:
        post_save.disconnect(sender=Order, dispatch_uid="shop.order_placed")
        kinds._kinds.clear()
        kinds._kinds.update(known)
        kinds._categories.clear()
        kinds._categories.update(kept)
        for name in ("shop", "shop.models"):
            del sys.modules[name]
        with connections[inboxes.alias].schema_editor() as editor:
            editor.delete_model(Order)


def run_blocks(inboxes: Inboxes) -> dict[str, Any]:
    ContentType.objects.get_for_model(Order)  # as `migrate` makes it
    group, _ = Group.objects.get_or_create(name="the group")
    names = {
        "INSTALLED_APPS": [],
        "user": inboxes.ada,
        "actor": inboxes.bob,
        "order": Order.objects.create(owner=inboxes.ada, number="42"),
        "group": group,
    }
    for block in BLOCKS:
        exec(compile(block, "docs/inbox.md", "exec"), names)
    return names


def test_every_block_runs_and_what_it_sends_reads_as_written(
    inboxes: Inboxes, names: dict[str, Any]
) -> None:
    assert len(BLOCKS) >= 10
    assert names["INSTALLED_APPS"][-1] == "notifications.compat.generic"
    inboxes.relay()
    # What the section about withdrawing has sent is withdrawn by it.
    assert inboxes.texts(inboxes.ada) == ["bob closed No. 42 on the group Why not?"]
    assert Notification.objects.filter(state=4).count() == 2


def test_the_view_notifies_in_its_transaction(inboxes: Inboxes, names: dict[str, Any]) -> None:
    request = RequestFactory().post("/")
    request.user = inboxes.bob
    with transaction.atomic(inboxes.alias):
        names["pay"](request, "42")
        transaction.set_rollback(True, using=inboxes.alias)
    inboxes.relay()
    assert len(inboxes.texts(inboxes.ada)) == 1
    with transaction.atomic(inboxes.alias):
        names["pay"](request, "42")
    inboxes.relay()
    assert inboxes.texts(inboxes.ada)[0] == "Order No. 42 was paid by bob."


def test_the_signal_follows_the_transaction(inboxes: Inboxes, names: dict[str, Any]) -> None:
    with transaction.atomic(inboxes.alias):
        Order.objects.create(owner=inboxes.bob, number="43")
        transaction.set_rollback(True, using=inboxes.alias)
    inboxes.relay()
    assert inboxes.texts(inboxes.bob) == []
    order = Order.objects.create(owner=inboxes.bob, number="44")
    order.save(update_fields=["paid"])
    inboxes.relay()
    assert inboxes.texts(inboxes.bob) == ["No. 44 was placed"]


def test_the_kinds_read_as_declared(inboxes: Inboxes, names: dict[str, Any]) -> None:
    for kind in ("order.refused", "order.shipped"):
        names["notify"](inboxes.bob, kind, target=names["order"])
    inboxes.relay()
    shipped, refused = inboxes.texts(inboxes.bob)
    assert refused == "Somebody refused No. 42"
    assert re.fullmatch(r"No\. 42 arrives on \w+\.? \d+, \d{4}", shipped)
    assert names["language_of"](inboxes.ada) is None
