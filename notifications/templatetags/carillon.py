"""`{% events_url "orders.42" "news" %}`: a signed subscribe link, for the visitor of the page."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django import template
from django.http import HttpRequest

from notifications.access.identities import signed_links
from notifications.access.identities.base import User

register = template.Library()

OF_THE_REQUEST: Any = object()


@register.simple_tag(takes_context=True)
def events_url(
    context: template.Context,
    *topics: str | Iterable[str],
    user: User | None = OF_THE_REQUEST,
    expires_in: float | timedelta | None = None,
    since: str = "",
    envelope: bool = False,
    absolute: bool = False,
) -> str:
    """A topic may be a list of them. `user=None` is a link that is nobody's; without `user`, it is
    bound to whoever is logged in. `absolute` is for pages on other origins."""
    url = signed_links.events_url(
        *_flat(topics),
        user=_visitor(context) if user is OF_THE_REQUEST else user,
        expires_in=expires_in,
        since=since,
        envelope=envelope,
    )
    return _request(context).build_absolute_uri(url) if absolute else url


def _flat(topics: Iterable[str | Iterable[str]]) -> Iterable[str]:
    for each in topics:
        if isinstance(each, str):
            yield each
        else:
            yield from each


def _visitor(context: template.Context) -> User | None:
    # A project without authentication has no users to bind anything to.
    return getattr(_request(context), "user", None)


def _request(context: template.Context) -> HttpRequest:
    request = context.get("request")
    if not isinstance(request, HttpRequest):
        raise template.TemplateSyntaxError(
            "{% events_url %} needs the request: use render(request, …) with the context processor "
            "'django.template.context_processors.request', or say user=… and not absolute=True."
        )
    return request
