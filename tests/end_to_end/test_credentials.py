"""Streams by signed links, and publishing by tokens: no cookie, and each at another process."""

import json
from urllib.parse import urlencode

from notifications.access.identities.signed_links import events_url
from tests.end_to_end.conftest import ALLOWED_ORIGIN, Pair
from tests.harness.event_source import Stream
from tests.harness.tokens import token

CLAIM = {"subscribe": ["orders"], "publish": ["orders"]}


def published(pair: Pair, topic: str, text: str) -> int:
    headers = {"Authorization": f"Bearer {text}", "Content-Type": "application/json"}
    body = json.dumps({"topic": topic, "data": topic}).encode()
    return pair.other.request("POST", "/publish/", body=body, headers=headers)[0]


def signed() -> str:
    return token(header={"kid": "default"}, carillon=CLAIM)


async def test_a_page_of_another_origin_receives_the_topics_of_its_link_and_no_others(
    pair: Pair, topic: str
) -> None:
    mine, beneath = f"orders.{topic}", f"orders.{topic}.items"
    url = events_url(mine)
    async with Stream(pair.one.port, url, headers={"Origin": ALLOWED_ORIGIN}) as stream:
        assert stream.status == 200
        assert stream.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
        assert published(pair, beneath, signed()) == 201
        assert published(pair, mine, signed()) == 201
        assert (await stream.next_event()).data == mine
    async with Stream(pair.other.port, f"{url}&{urlencode({'topic': beneath})}") as stream:
        assert stream.status == 403
    async with Stream(pair.other.port, f"{url}x") as stream:
        assert stream.status == 401


async def test_a_token_opens_a_stream_and_publishes_where_its_patterns_match(
    pair: Pair, topic: str
) -> None:
    headers = {"Authorization": f"Bearer {signed()}"}
    mine = f"orders.{topic}"
    async with Stream(pair.one.port, f"/events/?topic={mine}", headers=headers) as stream:
        assert published(pair, mine, signed()) == 201
        assert (await stream.next_event()).data == mine
    assert published(pair, f"news.{topic}", signed()) == 403
    assert published(pair, mine, token(header={"kid": "other"}, carillon=CLAIM)) == 401
    async with Stream(pair.other.port, f"/events/?topic=news.{topic}", headers=headers) as stream:
        assert stream.status == 403
