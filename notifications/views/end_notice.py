"""`end_notice=TOPIC` on `/events/`: an event is published when the stream's client has left.

A probe subscribes to that topic by another stream, and so sees that the server noticed.
"""

from functools import partial

from django.http import HttpRequest

from notifications.access.authorization import authorize_publish
from notifications.access.identities.authentication import authenticate
from notifications.access.identities.base import Kind
from notifications.conf.namespace import Namespace
from notifications.errors import BadRequest, CarillonError, Forbidden, Invalid
from notifications.hub.end_notices import EndNotice
from notifications.publishing.publisher import apublish
from notifications.telemetry.logs import logger
from notifications.topics import parse_topics

EVENT_TYPE = "left"


async def requested_end_notice(request: HttpRequest) -> EndNotice | None:
    """None if the request has no such parameter. Raises `Forbidden` without a key that may publish.

    A session is not enough, because a link on any page would make its visitors publish.
    """
    topic = request.GET.get("end_notice")
    if not topic:
        return None
    try:
        parse_topics([topic])
    except Invalid as error:
        raise BadRequest(error.detail) from None
    identity = await authenticate(request)
    if identity.kind not in (Kind.KEY, Kind.TOKEN):
        raise Forbidden("end_notice requires a key or a token that may publish to its topic.")
    await authorize_publish(identity, (topic,))
    return partial(publish_end, topic, namespace=identity.namespace)


async def publish_end(topic: str, *, namespace: Namespace = "") -> None:
    try:
        await apublish(topic, {}, type=EVENT_TYPE, namespace=namespace)
    except CarillonError as error:
        logger.warning("end_notice.failed", error=error.detail)
