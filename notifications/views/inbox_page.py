"""The page `/inbox/page/`: a person's notifications without a script, as a list with forms."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate
from urllib.parse import urlencode, urlsplit

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.views import redirect_to_login
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.dateparse import parse_datetime
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from notifications.errors import BadRequest, DatabaseAway, MethodNotAllowed, Unauthenticated
from notifications.inbox.lists import Page, counts, page
from notifications.inbox.preferences.choices import offers
from notifications.telemetry.logs import logger
from notifications.views.problems import CONTENT_TYPE, problem, problem_or_page
from notifications.views.security_headers import protect

type PersonView[**P] = Callable[Concatenate[HttpRequest, AbstractBaseUser, P], HttpResponseBase]

SAFE_METHODS = ("GET", "HEAD")
MAX_NUMBER = 2**63 - 1
FILTERS = {
    "": gettext_lazy("All"),
    "unread": gettext_lazy("Unread"),
    "archived": gettext_lazy("Archived"),
}


def page_of_person[**P](
    *, otherwise: str, away: str
) -> Callable[[PersonView[P]], Callable[Concatenate[HttpRequest, P], HttpResponseBase]]:
    """Makes a view of a page that is read by a GET, and is that of the person who is logged in.

    `otherwise` is the detail of a 405, and `away` that of the 503 without a database.
    """

    def decorate(
        view: PersonView[P],
    ) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
        @never_cache
        @csrf_exempt  # so a wrong method is refused as one
        @wraps(view)
        def page_view(
            request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            if request.method not in SAFE_METHODS:
                return problem_or_page(request, MethodNotAllowed(otherwise, allowed=SAFE_METHODS))
            user = getattr(request, "user", None)
            if not isinstance(user, AbstractBaseUser) or not user.is_authenticated:
                return log_in(request)
            try:
                return view(request, user, *args, **kwargs)
            except BadRequest as error:
                return problem_or_page(request, error)
            except DatabaseError:
                logger.exception("inbox.database_away")
                return problem_or_page(request, DatabaseAway(away))

        return page_view

    return decorate


@page_of_person(
    otherwise="The page is read by a GET.", away="The inbox cannot be reached now: try again."
)
def inbox_page(request: HttpRequest, user: AbstractBaseUser) -> HttpResponseBase:
    """The newest notifications, or those of `?state=`, which are older than `?before=`."""
    return protect(render(request, "carillon/inbox.html", _context(request, user)))


def log_in(request: HttpRequest) -> HttpResponse:
    """What nobody in particular gets: a browser the page to log in, anything else a problem."""
    if request.get_preferred_type([CONTENT_TYPE, "text/html"]) == "text/html":
        return redirect_to_login(request.get_full_path())
    return problem(request, Unauthenticated("An inbox is one person's: log in."))


def _context(request: HttpRequest, user: AbstractBaseUser) -> dict[str, Any]:
    state, before = request.GET.get("state", ""), request.GET.get("before", "")
    if state not in FILTERS:
        raise BadRequest(f"state: it is one of {', '.join(filter(None, FILTERS))}, or left out.")
    if before and not (before.isascii() and before.isdecimal() and int(before) <= MAX_NUMBER):
        raise BadRequest("before: it is the number of a notification.")
    found = page(user, state=state, before=int(before) if before else None)
    return {
        "notifications": [_shown(entry) for entry in found.notifications],
        "counts": counts(user),
        "has_choices": bool(offers()),
        "filters": [(_query(state=name), title, name == state) for name, title in FILTERS.items()],
        "state": state,
        "newest": _query(state=state) if before else "",
        "older": _older(found, state),
        "up_to": _up_to(found, is_first=not (state or before)),
    }


def _older(found: Page, state: str) -> str:
    return "" if found.before is None else _query(state=state, before=str(found.before))


def _up_to(found: Page, *, is_first: bool) -> int | None:
    """The number up to which a button may mark all: that of the newest one of all."""
    return found.notifications[0]["number"] if is_first and found.notifications else None


def _query(**parameters: str) -> str:
    return "?" + urlencode({name: value for name, value in parameters.items() if value})


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    created = entry["created"]
    # A link in a link is none, so then it is the text that is linked.
    is_linked = "<a" in entry["html"].lower()
    return {
        **entry,
        "url": entry["url"] if urlsplit(entry["url"]).scheme in ("", "http", "https") else "",
        "html": entry["text"] if entry["url"] and is_linked else SafeString(entry["html"]),
        "is_unread": entry["state"] in ("unseen", "seen"),
        "created": parse_datetime(created) if isinstance(created, str) else created,
    }
