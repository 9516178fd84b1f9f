"""What a request of django-eventstream's may hear, as a grant that can be asked for again."""

from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model

from notifications import runtime
from notifications.compat.eventstream.asking import Asked, unreadable
from notifications.compat.eventstream.subjects import ANONYMOUS, subject
from notifications.cursors import Cursor
from notifications.grants import Grant
from notifications.subjects import session_subject


def granted(asked: Asked, as_of: Cursor) -> Grant:
    """All of it. Who may hear less may hear nothing."""
    pk = ANONYMOUS if asked.user is None else asked.user.pk
    session = (session_subject(asked.session_key),) if asked.session_key else ()
    renew = _Renewal(None if asked.user is None else pk, asked.channels)
    return Grant(
        topics=asked.channels,
        subjects=(subject(pk), *session),
        as_of=as_of,
        renew=renew if asked.can_change else None,
    )


@dataclass(frozen=True, slots=True)
class _Renewal:
    pk: Any
    channels: tuple[str, ...]

    async def __call__(self) -> Grant:
        here = runtime.here()
        as_of = here.hub.head if here is not None and here.ready else None
        return await sync_to_async(self._ask)(as_of)

    def _ask(self, as_of: Cursor | None) -> Grant:
        user = None
        if self.pk is not None:
            # Who is not there any more hears what everybody does.
            user = get_user_model()._default_manager.filter(pk=self.pk).first()  # noqa: SLF001
        lost = unreadable(user, self.channels)
        topics = tuple(each for each in self.channels if each not in lost)
        return Grant(topics=topics, as_of=as_of, renew=self)
