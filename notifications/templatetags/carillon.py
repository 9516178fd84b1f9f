"""The template tag `{% events_url "orders.42" "news" %}`: a signed link for the page's visitor.

And the filter `{{ order.slug|topic_segment }}`, for a text that is put into a topic.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django import template
from django.http import HttpRequest

from notifications.access.identities import signed_links
from notifications.access.identities.base import User
from notifications.topics import topic_segment

register = template.Library()
register.filter("topic_segment", topic_segment)

REQUEST_USER: Any = object()


@register.simple_tag(takes_context=True)
def events_url(
    context: template.Context,
    *topics: str | Iterable[str],
    user: User | None = REQUEST_USER,
    expires_in: float | timedelta | None = None,
    since: str = "",
    envelope: bool = False,
    absolute: bool = False,
) -> str:
    """A signed subscribe link for these topics; each argument is a topic or a list of topics.

    The link is bound to the user who is logged in, to another `user`, or, with `user=None`, to no
    user. `absolute` is for pages on other origins.
    """
    url = signed_links.events_url(
        *_flatten(topics),
        user=_visitor(context) if user is REQUEST_USER else user,
        expires_in=expires_in,
        since=since,
        envelope=envelope,
    )
    return _request(context).build_absolute_uri(url) if absolute else url


def _flatten(topics: Iterable[str | Iterable[str]]) -> Iterable[str]:
    for argument in topics:
        if isinstance(argument, str):
            yield argument
        else:
            yield from argument


def _visitor(context: template.Context) -> User | None:
    # A project without authentication has no users to bind a link to.
    return getattr(_request(context), "user", None)


def _request(context: template.Context) -> HttpRequest:
    request = context.get("request")
    if not isinstance(request, HttpRequest):
        raise template.TemplateSyntaxError(
            "{% events_url %} needs the request: use render(request, …) with the context processor "
            "'django.template.context_processors.request', or pass user=… and not absolute=True."
        )
    return request
