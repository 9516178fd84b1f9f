"""`stream_template`: `render`, piece by piece."""

from collections.abc import Sequence
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.template import loader
from django.template.backends.django import Template

if TYPE_CHECKING:
    from notifications.streaming.templates.pieces import TemplateStream


def stream_template(
    request: HttpRequest | None,
    template_name: str | Sequence[str],
    context: dict[str, Any] | None = None,
    *,
    using: str | None = None,
) -> "TemplateStream":
    """What `render` would answer, as an async iterator of text, each piece as soon as it is ready.

    An awaitable anywhere in the context is awaited where the template comes to it, and an async
    iterable is looped over as it goes: each as often as the template likes, though it comes once.
    At the end, however that comes, what was begun of them is closed.

    Raises what `get_template` does, and `ImproperlyConfigured` for another engine than Django's.
    """
    values = context or {}
    try:
        found = _found(template_name, using)
        return _streaming()(found, request, values)
    except Exception:
        close_unawaited(values)
        raise


def _found(name: str | Sequence[str], using: str | None) -> Template:
    get = loader.get_template if isinstance(name, str) else loader.select_template
    found = get(name, using)  # type: ignore[arg-type]
    if not isinstance(found, Template):
        raise ImproperlyConfigured(
            f"stream_template streams templates of Django's engine, and {name!r} is one of "
            f"{type(found).__module__}. Jinja2 streams by itself: with 'enable_async' in its "
            "environment, give the response template.template.generate_async(context)."
        )
    return found


def _streaming() -> "type[TemplateStream]":
    try:
        from notifications.streaming.templates.pieces import TemplateStream
    except ModuleNotFoundError as error:
        if error.name != "greenlet":
            raise
        raise ImproperlyConfigured(
            'stream_template needs greenlet: pip install "django-carillon[templates]"'
        ) from None
    return TemplateStream


def close_unawaited(context: dict[str, Any]) -> None:
    """The template came to no place where they would have been awaited."""
    for value in context.values():
        if iscoroutine(value):
            value.close()
