"""The signal `notify` of django-notifications-community, for sites that take the inbox instead.

That package has our import name, so both cannot be installed. Every `notify.send()` of a site, and
of other packages, works as before: `from notifications.signals import notify` is this module.
"""

from typing import Any

from django.db.models import Model
from django.dispatch import Signal

from notifications.inbox.importing import MAX_TEXT_CHARACTERS, url_of
from notifications.inbox.kinds import COMMUNITY
from notifications.inbox.notify import Recipients
from notifications.inbox.notify import notify as notify_inbox

__all__ = ["notify", "receive"]

notify = Signal()
"""`notify.send(actor, recipient=…, verb=…, action_object=…, target=…, description=…)`."""

_IGNORED = frozenset({"signal", "public", "emailed"})


def receive(
    sender: Model,
    *,
    recipient: Recipients,
    verb: object,
    action_object: Model | None = None,
    target: Model | None = None,
    description: str | None = None,
    timestamp: object = None,
    level: str = "info",
    data: dict[str, Any] | None = None,
    **more: Any,
) -> int:
    """Notify the recipients, and return how many. What is not known otherwise goes into `data`.

    Raises as `notifications.notify`. What the target is called is read when somebody reads the
    notification, and what the action object is called is written down now.
    """
    params: dict[str, Any] = {
        "verb": str(verb),
        "action_object": "" if action_object is None else str(action_object),
        "description": (description or "")[:MAX_TEXT_CHARACTERS],
        "level": level,
        "data": (data or {}) | _without_options(more),
    }
    if timestamp is not None:
        params["timestamp"] = timestamp
    return notify_inbox(
        recipient,
        COMMUNITY.name,
        params,
        actor=sender,
        target=target,
        url=url_of(target) or url_of(action_object),
    )


def _without_options(given: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in given.items()
        if name not in _IGNORED and not name.endswith("_for_concrete_model")
    }


notify.connect(receive, dispatch_uid="carillon.community")
