"""The kinds of a shop, in the place of those that other tests have declared."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from notifications.inbox import Email, Priority, category, kind, kinds


@contextmanager
def no_kinds() -> Iterator[None]:
    """Within the block there are no kinds and categories but those that it declares."""
    known, kept = dict(kinds._kinds), dict(kinds._categories)
    kinds._kinds.clear()
    kinds._categories.clear()
    try:
        yield
    finally:
        kinds._kinds.clear()
        kinds._kinds.update(known)
        kinds._categories.clear()
        kinds._categories.update(kept)


@contextmanager
def shop() -> Iterator[None]:
    with no_kinds():
        kinds._kinds["message"] = kinds.MESSAGE
        category("orders", title="Orders", email=Email(timedelta(minutes=5)))
        category("alarms", title="Alarms", choices={"email": "always"})
        category("news", title="<News>", choices={"in-app": "off", "email": "off"})
        category("tips", title="Tips", choices={"in-app": "on"})
        kind("order.paid", text="Paid <b>{{ n }}</b>", category="orders")
        kind("alarm", text="Alarm", category="alarms", priority=Priority.HIGH, email=Email())
        kind("news", text="News", category="news", email=Email())
        kind("tip", text="Tip {{ n }}", category="tips")
        yield
