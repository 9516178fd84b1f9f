"""`stream_template`: Django's `render`, piece by piece."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.template import loader
from django.template.backends.django import Template

from notifications.streaming.templates.unawaited import close_unawaited

if TYPE_CHECKING:
    # Importing it needs greenlet, which is optional.
    from notifications.streaming.templates.pieces import TemplateStream


def stream_template(
    request: HttpRequest | None,
    template_name: str | Sequence[str],
    context: dict[str, Any] | None = None,
    *,
    using: str | None = None,
) -> "TemplateStream":
    """The text that `render` would return, as an async iterator: each piece as soon as it is ready.

    An awaitable anywhere in the context is awaited when the template reaches it, and an async
    iterable is looped over while its items arrive. The template may use both as often as it likes,
    although a coroutine or an iterator can be consumed only once. When the stream ends, for
    whatever reason, iterators and coroutines of the context are closed.

    Raises what `get_template` raises, and `ImproperlyConfigured` for another engine than Django's.
    """
    values = context or {}
    try:
        template = _load_template(template_name, using)
        return _import_template_stream()(template, request, values)
    except Exception:
        close_unawaited(values)
        raise


def _load_template(name: str | Sequence[str], using: str | None) -> Template:
    load = loader.get_template if isinstance(name, str) else loader.select_template
    template = load(name, using)  # type: ignore[arg-type]
    if not isinstance(template, Template):
        raise ImproperlyConfigured(
            f"stream_template streams templates of Django's engine, and {name!r} is one of "
            f"{type(template).__module__}. Jinja2 streams by itself: with 'enable_async' in its "
            "environment, give the response template.template.generate_async(context)."
        )
    return template


def _import_template_stream() -> "type[TemplateStream]":
    try:
        from notifications.streaming.templates.pieces import TemplateStream
    except ModuleNotFoundError as error:
        if error.name != "greenlet":
            raise
        raise ImproperlyConfigured(
            'stream_template needs greenlet: pip install "django-carillon[templates]"'
        ) from None
    return TemplateStream
