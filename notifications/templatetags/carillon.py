"""The template tags of a page: `{% events_url "orders.42" "news" %}` and `{% carillon_cursor %}`.

`{% carillon_stream "orders.42" as="htmx" %}` is the element of a library, and `{% carillon_bell %}`
that of the visitor's notifications.

And the filter `{{ order.slug|topic_segment }}`, for a text that is put into a topic.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django import template
from django.apps import apps
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from notifications.access.identities import page_user, signed_links
from notifications.access.identities.base import User
from notifications.asgi.start_params import NO_CURSOR
from notifications.hub import page_cursor
from notifications.inbox import bell
from notifications.topics import topic_segment, user_topic

register = template.Library()
register.filter("topic_segment", topic_segment)

REQUEST_USER: Any = object()


@register.simple_tag(takes_context=True)
def events_url(
    context: template.Context,
    *topics: str | Iterable[str],
    user: User | None = REQUEST_USER,
    expires_in: float | timedelta | None = None,
    since: str | None = None,
    envelope: bool = False,
    absolute: bool = False,
) -> str:
    """A signed subscribe link for these topics; each argument is a topic or a list of topics.

    The stream begins at the cursor of the page, unless `since` says otherwise (`""`: at now).
    The link is bound to the user who is logged in, to another `user`, or, with `user=None`, to no
    user. `absolute` is for pages on other origins.

    Without topics it is no link, but the address for `carillon.js`, which adds topics: the session
    decides about them, and tabs with the same user share one connection.
    """
    start = _page_start(context) if since is None else since
    if not topics:
        url = _session_url(context, start, envelope=envelope)
        return SafeString(_request(context).build_absolute_uri(url) if absolute else url)
    url = signed_links.events_url(
        *_flatten(topics),
        user=_visitor(context) if user is REQUEST_USER else user,
        expires_in=expires_in,
        since=start,
        envelope=envelope,
    )
    url = _request(context).build_absolute_uri(url) if absolute else url
    # Everything in it is percent-encoded. With `&amp;` it would not work in a script.
    return SafeString(url.replace("'", "%27"))


@register.simple_tag(takes_context=True)
def carillon_cursor(context: template.Context) -> str:
    """The cursor from before the page's request: a stream that begins there misses nothing.

    Empty if Redis is away. A cached fragment keeps its cursor, so cache the state together with it.
    """
    return page_cursor.cursor(context.get("request"))


STREAM_ELEMENTS = {
    "htmx": '<div hx-ext="sse" sse-connect="{url}" sse-swap="message" {swap}></div>',
    "htmx4": '<div hx-sse:connect="{url}" hx-trigger="carillon:connect" {swap}></div>',
    "turbo": '<turbo-stream-source src="{url}"></turbo-stream-source>',
    "datastar": "<div data-init=\"@get('{url}', {options})\"></div>",
}
"""The element that connects, by the `as` of the tag."""
_NO_SWAP = mark_safe('hx-swap="none" hx-target="this"')
_DATASTAR_OPTIONS = mark_safe(
    "{retry: &#x27;always&#x27;, retryMaxCount: Infinity, requestCancellation: "
    "&#x27;cleanup&#x27;, filterSignals: {exclude: /./}}"
)


@register.simple_tag(takes_context=True)
def carillon_stream(
    context: template.Context,
    *topics: str | Iterable[str],
    user: User | None = REQUEST_USER,
    expires_in: float | timedelta | None = None,
    since: str | None = None,
    url: str = "",
    script: bool = True,
    **library: str,
) -> str:
    """The element that connects to the HTML of these topics: `{% carillon_stream "a" as="htmx" %}`.

    `as` is htmx (2, and 4 as well), htmx4, turbo or datastar. The stream begins at the cursor of
    the page. `url` is for a view of the site's own, which returns an `EventStreamResponse` with a
    `dialect`. With `script=False` the page loads `carillon/html.js` itself.
    """
    name = library.pop("as", "")
    if library or name not in STREAM_ELEMENTS:
        raise template.TemplateSyntaxError(
            f"{{% carillon_stream %}} needs as=…, one of: {', '.join(STREAM_ELEMENTS)}."
        )
    dialect = name.removesuffix("4")
    start = _page_start(context) if since is None else since
    if url:
        url = f"{url}{'&' if '?' in url else '?'}{urlencode({'since': start, 'as': dialect})}"
    else:
        url = signed_links.events_url(
            *_flatten(topics),
            user=_visitor(context) if user is REQUEST_USER else user,
            expires_in=expires_in,
            since=start,
            dialect=dialect,
        )
    url = url.replace("'", "%27")  # Datastar has it in a script
    element = format_html(STREAM_ELEMENTS[name], url=url, swap=_NO_SWAP, options=_DATASTAR_OPTIONS)
    module = static("carillon/html.js")
    loading = format_html('<script type="module" src="{}"></script>', module) if script else ""
    resets = mark_safe('<span class="carillon-resets" hidden></span>')
    return format_html("<carillon-stream>{}{}</carillon-stream>{}", element, resets, loading)


@register.simple_tag(takes_context=True)
def carillon_bell(
    context: template.Context,
    *,
    limit: int = 20,
    title: bool = True,
    toasts: bool = True,
    texts: Mapping[str, Any] | None = None,
    script: bool = True,
) -> str:
    """The bell of the visitor's notifications, with the newest `limit` (1 to 100) already in it.

    Nothing for a visitor who is nobody. `title`: the count is in the title of the page. `toasts`:
    what arrives is shown at the edge of the page. `texts` replace those of the language. With
    `script=False` the page loads `carillon/bell.js` itself.
    """
    if not apps.is_installed("notifications.inbox"):
        raise template.TemplateSyntaxError(
            "{% carillon_bell %} needs the inbox: add 'notifications.inbox' to INSTALLED_APPS, and "
            "run 'manage.py migrate'."
        )
    request, user = _request(context), _visitor(context)
    if not isinstance(user, AbstractBaseUser) or not user.is_authenticated:
        return ""
    topic = urlencode({"topic": user_topic(user)})
    return bell.bell(
        request,
        user,
        events=f"{_session_url(context, '', envelope=False)}&{topic}",
        limit=limit,
        title=title,
        toasts=toasts,
        texts=texts,
        script=script,
    )


def _page_start(context: template.Context) -> str:
    return page_cursor.cursor(context.get("request")) or NO_CURSOR


def _session_url(context: template.Context, since: str, *, envelope: bool) -> str:
    query = {page_user.PARAMETER: page_user.page_user(_visitor(context))}
    if since:
        query["since"] = since
    if envelope:
        query["envelope"] = "1"
    return f"{reverse('carillon:events')}?{urlencode(query, safe=':')}"


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
