"""HTML for every page that subscribes: rendered once, and put into the pages by their library.

A stream with `?as=htmx`, `turbo` or `datastar` encodes the same event for that library
(`hub/dialects.py`). The event is marked as HTML by its `Swap`, which only code sets: no field of
a request becomes one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Never

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.template import Context
from django.template.backends.django import Template
from django.template.loader import get_template, select_template

from notifications.conf.namespace import Namespace
from notifications.errors import Invalid
from notifications.events import Event, Swap, SwapMode
from notifications.publishing.publisher import (
    apublish_event,
    build_draft,
    build_event,
    publish_event,
    publish_events_on_commit,
    publish_outbox_many,
)

HTML_TYPE = "html"
"""The type of the events on streams of no dialect: so they never reach `onmessage` there."""
_BEGINS_WITH_ELEMENT = re.compile(r"<[A-Za-z]")

type TemplateName = str | Sequence[str]
type Topic = str | Iterable[str]


def publish_html(
    topic: Topic,
    template: TemplateName,
    context: Mapping[str, Any] | None = None,
    *,
    target: str,
    swap: str = SwapMode.INNER,
    type: str = HTML_TYPE,
    id: str | None = None,
    idempotency_key: str | None = None,
    fail_silently: bool = False,
    namespace: Namespace | None = None,
) -> Event:
    """Render a template for everybody, and publish the HTML to one topic or several.

    `target` is the id of an element, or `.class`. `swap`: the HTML becomes the content of the
    target (`inner`), replaces it (`outer`, one element), comes to the end or start of its content
    (`append`, `prepend`), or beside it (`before`, `after`); `remove` removes the target, and
    renders nothing. The other arguments, and what it raises, are as in `publish`. Raises `Invalid`
    where the template or its context is one person's: a request, or a CSRF token.
    """
    event = html_event(topic, template, context, target=target, swap=swap, type=type, id=id)
    make_draft = partial(build_draft, named=id is not None, key=idempotency_key)
    return publish_event(event, namespace, make_draft, fail_silently=fail_silently)


async def apublish_html(
    topic: Topic,
    template: TemplateName,
    context: Mapping[str, Any] | None = None,
    *,
    target: str,
    swap: str = SwapMode.INNER,
    type: str = HTML_TYPE,
    id: str | None = None,
    idempotency_key: str | None = None,
    fail_silently: bool = False,
    namespace: Namespace | None = None,
) -> Event:
    """As `publish_html`, for code in an event loop. The template is rendered in a thread."""
    make_event = sync_to_async(html_event)
    event = await make_event(topic, template, context, target=target, swap=swap, type=type, id=id)
    make_draft = partial(build_draft, named=id is not None, key=idempotency_key)
    return await apublish_event(event, namespace, make_draft, fail_silently=fail_silently)


def publish_html_on_commit(
    topic: Topic,
    template: TemplateName,
    context: Mapping[str, Any] | None = None,
    *,
    target: str,
    swap: str = SwapMode.INNER,
    type: str = HTML_TYPE,
    id: str | None = None,
    using: str | None = None,
) -> None:
    """Render now, and publish when the transaction commits, as `publish_on_commit` does."""
    event = html_event(topic, template, context, target=target, swap=swap, type=type, id=id)
    publish_events_on_commit([event], using=using)


def publish_html_outbox(
    topic: Topic,
    template: TemplateName,
    context: Mapping[str, Any] | None = None,
    *,
    target: str,
    swap: str = SwapMode.INNER,
    type: str = HTML_TYPE,
    id: str | None = None,
    using: str | None = None,
) -> Event:
    """Render now, and write the event into the outbox, as `publish_outbox` does."""
    event = html_event(topic, template, context, target=target, swap=swap, type=type, id=id)
    publish_outbox_many([event], using=using)
    return event


def html_event(
    topic: Topic,
    template: TemplateName,
    context: Mapping[str, Any] | None = None,
    *,
    target: str,
    swap: str = SwapMode.INNER,
    type: str = HTML_TYPE,
    id: str | None = None,
) -> Event:
    """The event of `publish_html`, which `publish_many` takes too, beside other events."""
    where = Swap(target, swap)
    html = "" if swap == SwapMode.REMOVE else _render(template, context or {})
    if swap == SwapMode.OUTER and not _BEGINS_WITH_ELEMENT.match(html):
        raise Invalid(
            "swap='outer' replaces the target by one element: the template has to begin with it.",
            field="swap",
        )
    return build_event(topic, html, type=type, id=id, swap=where)


class _OnePersons:
    """Stands in for a value that belongs to one person. Whatever shows it fails."""

    def __str__(self) -> Never:
        raise Invalid(
            "This template is rendered for everybody who subscribes, and a CSRF token is one "
            "person's: leave {% csrf_token %} out, and send the token in the header X-CSRFToken "
            "(htmx: hx-headers on <body>)."
        )

    __html__ = __str__


_NO_TOKEN = {"csrf_token": _OnePersons(), "csrf_input": _OnePersons()}
"""What context processors, and Jinja2's backend, give to a template with a request."""


class _EverybodysContext(Context):
    """A context without a request, also where `{% include … only %}` begins a new one."""

    def new(self, values: Any = None) -> Any:
        context = super().new(values)
        context.dicts.insert(1, dict(_NO_TOKEN))  # after Django's own values, before all others
        return context


def _render(name: TemplateName, context: Mapping[str, Any]) -> str:
    for key, value in context.items():
        if isinstance(value, HttpRequest):
            raise Invalid(
                f"The template is rendered for everybody who subscribes, and {key!r} is one "
                "person's request: pass what the template shows of it.",
                field="context",
            )
    template = get_template(name) if isinstance(name, str) else select_template(name)
    values = {**_NO_TOKEN, **context}
    if not isinstance(template, Template):
        return str(template.render(values)).strip()
    inner = template.template
    return inner.render(_EverybodysContext(values, autoescape=inner.engine.autoescape)).strip()
