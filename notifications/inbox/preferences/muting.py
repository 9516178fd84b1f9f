"""Notifications of people who do not want them in the inbox: in no list and no count.

Their rows stay, since an e-mail may be about them, and since somebody may ask what became of them.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from notifications.inbox.channels import Channel
from notifications.inbox.events import by_recipient, write_changed
from notifications.inbox.preferences.choices import without_channel
from notifications.inbox.states import State
from notifications.inbox.table import rows


def mute(category: str, written: Mapping[Any, UUID], *, using: str) -> Mapping[Any, UUID]:
    """Mute what was written for people who want it so, and return the rest.

    A page may show the one that such a notification replaces, and is told to drop it.
    """
    unwilling = without_channel(category, Channel.IN_APP, written.keys(), using)
    if not unwilling:
        return written
    muted = rows(using).filter(pk__in=[written[recipient] for recipient in unwilling])
    listed = muted.filter(number__isnull=False).values_list("recipient_id", "pk")
    replaced = by_recipient(listed)
    muted.update(state=State.MUTED, pending=False, number=None)
    write_changed(replaced, using=using)
    return {recipient: id for recipient, id in written.items() if recipient not in unwilling}
