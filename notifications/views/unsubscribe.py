"""`/inbox/unsubscribe/<link>`: ends the e-mails of a category with one click (RFC 8058).

The link is what authorises. A GET changes nothing, since programs that look for viruses follow the
links of e-mails; a POST switches the e-mails off, by the mailbox's own button or by the page's.
"""

from django.db import Error as DatabaseError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from notifications.asgi.marker import judges_itself
from notifications.errors import BadRequest, DatabaseAway, Invalid, MethodNotAllowed
from notifications.inbox.delivery.unsubscribing import read_link, switch
from notifications.inbox.kinds import find_category
from notifications.inbox.preferences.choices import title_of
from notifications.telemetry.logs import logger
from notifications.views.inbox_page import SAFE_METHODS
from notifications.views.problems import problem_or_page
from notifications.views.security_headers import protect

AGAIN = "again"
"""The field by which the page's form takes it back."""


@judges_itself
@never_cache
@csrf_exempt  # the link is secret, and a mailbox has no cookie
def unsubscribe(request: HttpRequest, link: str) -> HttpResponseBase:
    allowed = (*SAFE_METHODS, "POST")
    if request.method not in allowed:
        error = MethodNotAllowed("Unsubscribing is a POST.", allowed=allowed)
        return problem_or_page(request, error)
    try:
        subscription = read_link(link)
        if request.method == "POST":
            switch(subscription, is_on=AGAIN in request.POST)
    except Invalid as error:
        return problem_or_page(request, BadRequest(error.detail))
    except DatabaseError:
        logger.exception("inbox.database_away")
        return problem_or_page(request, DatabaseAway("This cannot be noted now: try again."))
    category = subscription.category
    context = {
        "category": "" if category is None else title_of(find_category(category)),
        "is_done": request.method == "POST" and AGAIN not in request.POST,
        "is_taken_back": AGAIN in request.POST,
        "again": AGAIN,
    }
    return protect(render(request, "carillon/unsubscribe.html", context))
