"""The text of a notification: rendered when somebody reads it, in the reader's language."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.template import engines
from django.template.backends.django import DjangoTemplates, Template
from django.template.loader import get_template
from django.utils.html import strip_tags

from notifications.events import compact_json
from notifications.inbox.kinds import Kind, find_kind
from notifications.inbox.table import AWAY_ERRORS
from notifications.telemetry.logs import logger

if TYPE_CHECKING:
    from notifications.inbox.models import Notification

MAX_HTML_CHARACTERS = 16 * 1024
"""A longer text is not shown: an event has no room for it."""


@dataclass(frozen=True, slots=True)
class Content:
    html: str
    text: str
    is_away: bool = False
    """Whether it has no text because a database could not be reached."""


NO_CONTENT = Content("", "")


class Renderer:
    """Renders notifications in the active language, and those that read the same only once.

    Load what their templates need before, by `load_objects`.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Content] = {}

    def content(self, notification: "Notification") -> Content:
        """The text. A notification that cannot be rendered has none, and the log says why."""
        kind = find_kind(notification.kind)
        if kind is None:
            logger.warning("inbox.kind_unknown", kind=notification.kind)
            return NO_CONTENT
        if kind.make_context is not None:
            return _render(kind, notification)
        key = (
            *(notification.kind, compact_json(notification.params), notification.url),
            *(notification.actor_type_id, notification.actor_id),
            *(notification.target_type_id, notification.target_id),
        )
        if key not in self._known:
            self._known[key] = _render(kind, notification)
        return self._known[key]


def _render(kind: Kind, notification: "Notification") -> Content:
    try:
        rendered = _template(kind).render(_context(kind, notification)).strip()
        rendered.encode()  # what UTF-8 cannot carry would stop the events of others, too
    except Exception as error:
        # Templates of a site may fail in any way, and its other notifications are sound.
        logger.exception("inbox.render_failed", kind=kind.name, notification=notification.pk.hex)
        return Content("", "", is_away=isinstance(error, AWAY_ERRORS))
    if len(rendered) > MAX_HTML_CHARACTERS:
        logger.error("inbox.text_too_long", kind=kind.name, characters=len(rendered))
        return NO_CONTENT
    return Content(rendered, html.unescape(" ".join(strip_tags(rendered).split())))


def _template(kind: Kind) -> Any:
    return get_template(kind.template) if kind.template else _compiled(str(kind.text))


def _context(kind: Kind, notification: "Notification") -> Mapping[str, Any]:
    more = kind.make_context(notification) if kind.make_context is not None else {}
    objects = {"actor": notification.actor, "target": notification.target}
    return {
        # One that is deleted is a missing variable, since None would be shown as a word.
        **{name: each for name, each in objects.items() if each is not None},
        "url": notification.url,
        **notification.params,
        **more,
    }


@lru_cache(maxsize=512)
def _compiled(source: str) -> Template:
    return _text_engine().from_string(source)


def _text_engine() -> DjangoTemplates:
    """The site's own Django engine, with its tags and filters, or one of no settings."""
    for engine in engines.all():
        if isinstance(engine, DjangoTemplates):
            return engine
    return _plain_engine()


@lru_cache(maxsize=1)
def _plain_engine() -> DjangoTemplates:
    options: dict[str, Any] = {}
    return DjangoTemplates({"NAME": "carillon", "DIRS": [], "APP_DIRS": False, "OPTIONS": options})
