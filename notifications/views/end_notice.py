"""`witness=TOPIC`: the stream's end is published, so that a probe knows that it was noticed."""

import logging
from functools import partial

from django.http import HttpRequest

from notifications.access.authorization import check_publishing
from notifications.access.identities.authentication import identify
from notifications.access.identities.base import Kind
from notifications.errors import BadRequest, CarillonError, Forbidden, Invalid
from notifications.hub.stream import EndNotice
from notifications.publishing.publisher import apublish
from notifications.topics import topics as check_topics

logger = logging.getLogger("carillon")

LEFT = "left"


async def witness_of(request: HttpRequest) -> EndNotice | None:
    """None unless it is asked for. Raises `Forbidden` for who may not publish there by a key.

    Not by a session: then a link on any page would make its visitors publish.
    """
    topic = request.GET.get("witness")
    if not topic:
        return None
    try:
        check_topics([topic])
    except Invalid as error:
        raise BadRequest(error.detail) from None
    identity = await identify(request)
    if identity.kind not in (Kind.KEY, Kind.TOKEN):
        raise Forbidden("A witness is for who has a key that may publish.")
    await check_publishing(identity, (topic,))
    return partial(_bear_witness, topic)


async def _bear_witness(topic: str) -> None:
    try:
        await apublish(topic, {}, type=LEFT)
    except CarillonError as error:
        logger.warning("witness.unheard error=%r", error.detail)
