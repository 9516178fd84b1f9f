"""The page at `/`: a live view of any topic, and a form for users who may publish."""

from contextlib import suppress

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from notifications.access.decision import PUBLISH_PERMISSION
from notifications.conf import get_settings
from notifications.errors import Invalid
from notifications.topics import user_topic
from notifications.views.security_headers import protect


@never_cache
@require_safe
def page(request: HttpRequest) -> HttpResponse:
    context = {
        "default_topic": _default_topic(request),
        "keepalive": get_settings().KEEPALIVE,
        "may_publish": request.user.has_perm(PUBLISH_PERMISSION),
    }
    return protect(render(request, "carillon/page.html", context))


def _default_topic(request: HttpRequest) -> str:
    """A topic to which this visitor may surely subscribe, or an empty string."""
    for prefix in get_settings().PUBLIC_TOPICS:
        return f"{prefix}chat" if prefix.endswith(".") else prefix
    with suppress(Invalid):  # the primary key may be too long for a topic
        return user_topic(request.user) if request.user.is_authenticated else ""
    return ""
