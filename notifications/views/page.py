"""The page at `/`: a live view of any topic, and a form for users who may publish."""

from contextlib import suppress

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from notifications.access.decision import PUBLISH_PERMISSION
from notifications.conf import get_settings
from notifications.errors import Invalid, MethodNotAllowed
from notifications.topics import example_topic, user_topic
from notifications.views.problems import problem_or_page
from notifications.views.security_headers import protect

SAFE_METHODS = ("GET", "HEAD")


@never_cache
@csrf_exempt  # it changes nothing, so a wrong method is refused as one
def page(request: HttpRequest) -> HttpResponse:
    if request.method not in SAFE_METHODS:
        error = MethodNotAllowed("The page is read by a GET.", allowed=SAFE_METHODS)
        return problem_or_page(request, error)
    context = {
        "default_topic": _default_topic(request),
        "keepalive": get_settings().KEEPALIVE,
        "may_publish": request.user.has_perm(PUBLISH_PERMISSION),
    }
    return protect(render(request, "carillon/page.html", context))


def _default_topic(request: HttpRequest) -> str:
    """A topic to which this visitor may surely subscribe, or an empty string."""
    if topic := example_topic(get_settings().PUBLIC_TOPICS):
        return topic
    with suppress(Invalid):  # the primary key may be too long for a topic
        return user_topic(request.user) if request.user.is_authenticated else ""
    return ""
