"""Who publishes, and where they may."""

from collections.abc import Iterable

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from notifications.access.choice import PUBLISH_PERMISSION
from notifications.access.deciding import decide
from notifications.errors import Forbidden, Unauthenticated
from notifications.identities.base import Identity, Kind, Verb
from notifications.identities.choice import identify


async def publisher(request: HttpRequest) -> Identity:
    """Whoever publishes. Raises `Unauthenticated`, or `Forbidden` where the CSRF check fails."""
    identity = await identify(request)
    if identity.kind in {Kind.ANONYMOUS, Kind.LINK}:
        raise Unauthenticated("Publish with 'Authorization: Bearer <key>', or log in.")
    if identity.kind is Kind.SESSION:
        await sync_to_async(_check_csrf)(request)
    return identity


async def check_publishing(identity: Identity, topics: Iterable[str]) -> None:
    """Raises `Forbidden`, naming the topics, unless all of them are allowed."""
    decision = await decide(identity, Verb.PUBLISH, tuple(dict.fromkeys(topics)))
    if decision.denied:
        named = ", ".join(map(repr, decision.denied[:3]))
        more = f" and {len(decision.denied) - 3} more" if len(decision.denied) > 3 else ""
        raise Forbidden(
            f"You may not publish to {named}{more}. Without rules of the site's own, publishing "
            f"needs the permission {PUBLISH_PERMISSION!r}."
        )


class _CsrfCheck(CsrfViewMiddleware):
    """Django's own check, for one request, answering with the reason instead of a page."""

    def _reject(self, request: HttpRequest, reason: str) -> HttpResponse:
        raise Forbidden(f"The CSRF check failed: {reason}")


def _check_csrf(request: HttpRequest) -> None:
    check = _CsrfCheck(lambda _: HttpResponse())
    check.process_request(request)
    check.process_view(request, HttpResponse, (), {})
