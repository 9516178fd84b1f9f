"""The element `<carillon-bell>`, with all that it shows at first already in it."""

import json
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html, format_html_join, json_script
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, ngettext

from notifications.hub import page_cursor
from notifications.inbox.lists import counts, page
from notifications.inbox.push.offer import browser_key
from notifications.inbox.push.sessions import subscribed

MOST_SHOWN = 99
"""The badge of more than so many says only that they are more."""

# What the element shows before its script has come, and without it for good: a link that is drawn
# by attributes, because a strict Content-Security-Policy allows no style in markup.
_ICON = (
    '<svg width="40" height="40" viewBox="0 0 40 40" display="block" fill="none" '
    'stroke="CanvasText" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" '
    'aria-hidden="true"><path transform="translate(8 8)" d="M6 9.5a6 6 0 0 1 12 0c0 5.5 2 6.5 2 '
    '7.5H4c0-1 2-2 2-7.5M10 20.5a2.2 2.2 0 0 0 4 0"/>{badge}</svg>'
)
_BADGE = (
    '<rect x="20" y="2" width="{width}" height="18" rx="9" fill="#c0272d" stroke="none"/>'
    '<text x="{middle}" y="15" font-size="11" font-weight="700" text-anchor="middle" '
    'fill="#fff" stroke="none">{text}</text>'
)
_ELEMENT = '<carillon-bell{attributes}><a href="{page}" aria-label="{label}">{icon}</a>{state}'


def snapshot(request: HttpRequest, user: AbstractBaseUser, *, limit: int) -> dict[str, Any]:
    """What `GET /inbox/` answers: the first page, the counts, and the cursor from before both."""
    cursor = page_cursor.cursor(request)
    first = page(user, limit=limit)
    following = f"{reverse('carillon:inbox')}?before={first.before}&limit={limit}"
    return {
        "notifications": first.notifications,
        "counts": counts(user),
        "next": None if first.before is None else following,
        "cursor": cursor,
    }


def bell(
    request: HttpRequest,
    user: AbstractBaseUser,
    *,
    events: str,
    limit: int,
    title: bool,
    toasts: bool,
    texts: Mapping[str, Any] | None,
    script: bool,
) -> SafeString:
    """The element for this user. `events` is the address of their stream."""
    state = snapshot(request, user, limit=limit)
    attributes = {
        "events": events,
        "inbox": reverse("carillon:inbox"),
        "lang": get_language() or settings.LANGUAGE_CODE,
        **_csrf(request),
        **_push(request),
        "no-title": not title,
        "no-toasts": not toasts,
        "texts": json.dumps(texts) if texts else False,
    }
    unseen = state["counts"]["unseen"]
    element = format_html(
        _ELEMENT,
        attributes=format_html_join("", ' {}="{}"', _written(attributes)),
        page=reverse("carillon:inbox-page"),
        label=_label(unseen),
        icon=format_html(_ICON, badge=_badge(unseen)),
        state=json_script(state),
    )
    module = format_html('<script type="module" src="{}"></script>', static("carillon/bell.js"))
    return format_html("{}</carillon-bell>{}", element, module if script else "")


def _written(attributes: Mapping[str, str | bool]) -> list[tuple[str, str]]:
    return [
        (name, "" if value is True else str(value))
        for name, value in attributes.items()
        if value is not False
    ]


def _csrf(request: HttpRequest) -> dict[str, str | bool]:
    """What proves that a request comes from this page: the cookie, if scripts may read it."""
    token = get_token(request)  # which sets the cookie, too
    is_readable = not (settings.CSRF_USE_SESSIONS or settings.CSRF_COOKIE_HTTPONLY)
    return {
        "csrf-header": settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-"),
        "csrf-cookie": settings.CSRF_COOKIE_NAME if is_readable else False,
        "csrf-token": False if is_readable else token,
    }


def _push(request: HttpRequest) -> dict[str, str | bool]:
    """How a browser subscribes to push messages, and what the server has of this one."""
    key = browser_key()
    return {"push-key": key, "push-subscribed": str(subscribed(request))} if key else {}


def _label(unseen: int) -> str:
    title = gettext("Notifications")
    if not unseen:
        return title
    return f"{title}, {ngettext('%(count)d new', '%(count)d new', unseen) % {'count': unseen}}"


def _badge(unseen: int) -> str:
    if not unseen:
        return ""
    text = f"{MOST_SHOWN}+" if unseen > MOST_SHOWN else str(unseen)
    width = 11 + 7 * len(text)
    return format_html(_BADGE, text=text, width=width, middle=20 + width / 2)
