"""Who may subscribe to what, and who may publish."""

import hashlib
import hmac
import logging
from collections.abc import Sequence

from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, PermissionsMixin
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from notifications.conf import get_settings
from notifications.errors import BadRequest, Forbidden, Unauthenticated
from notifications.topics import covers, user_topic

logger = logging.getLogger("carillon")

PUBLISH_PERMISSION = "carillon.publish_event"

type User = AbstractBaseUser | AnonymousUser


async def current_user(request: HttpRequest) -> User:
    """The session's user; anonymous where the project has no authentication."""
    if not hasattr(request, "auser"):
        return AnonymousUser()
    return await request.auser()


async def subscribed_topics(request: HttpRequest, asked: Sequence[str]) -> Sequence[str]:
    """The topics that this request may hear: all it asked for, or `Forbidden`.

    Without any, a user hears the topic of their own. The session is read only if it matters.
    """
    public = get_settings().PUBLIC_TOPICS
    private = [topic for topic in asked if not any(covers(prefix, topic) for prefix in public)]
    if asked and not private:
        return asked
    user = await current_user(request)
    if not asked:
        if not user.is_authenticated:
            raise BadRequest("Name at least one topic: /events/?topic=… (or log in for your own).")
        return [user_topic(user)]
    for topic in private:
        if not (user.is_authenticated and covers(user_topic(user), topic)):
            _explain(topic)
            raise Forbidden(f"You may not subscribe to {topic!r}.")
    return asked


def _explain(topic: str) -> None:
    if django_settings.DEBUG:
        logger.warning(
            "subscribe.refused topic=%r: it is neither under CARILLON['PUBLIC_TOPICS'] %r nor the "
            "topic of the user who asks. Add a prefix there to make it public.",
            topic,
            get_settings().PUBLIC_TOPICS,
        )


async def publisher(request: HttpRequest) -> str:
    """Who publishes, as a name for idempotency. Raises `Unauthenticated` or `Forbidden`."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        return _key_publisher(scheme, credentials.strip())
    user = await current_user(request)
    if not user.is_authenticated:
        raise Unauthenticated("Publish with 'Authorization: Bearer <key>', or log in.")
    await sync_to_async(_check_csrf)(request)
    if not (isinstance(user, PermissionsMixin) and await user.ahas_perm(PUBLISH_PERMISSION)):
        raise Forbidden(f"Publishing needs the permission {PUBLISH_PERMISSION!r}.")
    return f"user:{user.pk}"


def _key_publisher(scheme: str, key: str) -> str:
    if scheme.lower() != "bearer":
        raise Unauthenticated("The scheme of Authorization is 'Bearer'.")
    # Every key is compared, so that time tells nothing about which one came close.
    matches = [
        hmac.compare_digest(key.encode(), known.encode()) for known in get_settings().PUBLISH_KEYS
    ]
    if not any(matches):
        raise Unauthenticated("This publish key is not known.")
    return f"key:{hashlib.sha256(key.encode()).hexdigest()[:16]}"


class _CsrfCheck(CsrfViewMiddleware):
    """Django's own check, for one request, answering with the reason instead of a page."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        raise Forbidden(f"The CSRF check failed: {reason}")


def _check_csrf(request: HttpRequest) -> None:
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    check.process_view(request, HttpResponse, (), {})
