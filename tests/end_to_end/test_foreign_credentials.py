"""An `Authorization` of somebody else, at every endpoint of real servers, and ours beside it."""

import asyncio
import json
from contextlib import closing
from http.client import HTTPConnection

import pytest

from notifications.access.identities.signed_links import events_url
from tests.end_to_end.conftest import Pair
from tests.end_to_end.test_sessions import TOKEN, user  # noqa: F401 - a fixture
from tests.end_to_end.test_websocket import connected
from tests.harness.event_source import Stream
from tests.harness.servers import PUBLISH_KEY
from tests.harness.tokens import token
from tests.unit.access.identities.test_headers import FOREIGN

BASIC = FOREIGN["Basic of a proxy"]
UNKNOWN = f"Bearer crl_unknown0_{'x' * 43}"
EXPIRED = f"Bearer {token(header={'kid': 'default'}, exp=1)}"
FORGED = f"Bearer {token(header={'kid': 'default'})}x"
JSON = {"Content-Type": "application/json"}


def publish(pair: Pair, **headers: str) -> tuple[int, str]:
    body = json.dumps({"topic": "demo.foreign", "data": "x"}).encode()
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    status, _, answer = pair.one.request("POST", "/publish/", body=body, headers=JSON | renamed)
    return status, answer.decode()


async def test_it_is_passed_over_where_something_else_would_do(
    pair: Pair,
    user: tuple[int, str],  # noqa: F811
) -> None:
    pk, session = user
    cookie = {"Cookie": f"sessionid={session}; csrftoken={TOKEN}"}
    for authorization in filter(str.isascii, FOREIGN.values()):
        headers = {"Authorization": authorization}
        for path, more, expected in (
            ("/events/?topic=demo.foreign", {}, 200),
            (events_url("orders.1"), {}, 200),
            ("/events/", cookie, 200),
            (f"/events/?topic=user.{pk}", cookie, 200),
            (f"/events/?topic=user.{pk}", {}, 401),
            ("/events/", {}, 401),
        ):
            async with Stream(pair.one.port, path, headers=headers | more) as stream:
                assert stream.status == expected, (authorization, path)
        status, answer = await asyncio.to_thread(publish, pair, **headers)
        assert status == 401
        assert "Authorization: Bearer <key or token>" in answer
        # A session is a session: a header beside it does not switch CSRF off.
        assert (await asyncio.to_thread(publish, pair, **headers, **cookie))[0] == 403
        csrf = {"X_CSRFToken": TOKEN}
        assert (await asyncio.to_thread(publish, pair, **headers, **cookie, **csrf))[0] == 201


def test_history_schema_and_health_pass_it_over(pair: Pair) -> None:
    for path in (
        "/events/history.csv?topic=demo.foreign",
        "/events/history.ndjson?topic=demo.foreign",
        "/events/history.json?topic=demo.foreign",
        "/openapi.json",
        "/health/live",
        "/health/ready",
    ):
        assert pair.one.request("GET", path, headers={"Authorization": BASIC})[0] == 200, path
    status, headers, _ = pair.one.request(
        "GET", "/events/history.csv?topic=orders.1", headers={"Authorization": BASIC}
    )
    lowered = {name.lower(): value for name, value in headers.items()}
    assert (status, lowered["www-authenticate"]) == (401, 'Bearer realm="carillon"')


@pytest.mark.parametrize("authorization", [UNKNOWN, EXPIRED, FORGED, "Token " + UNKNOWN[7:]])
async def test_what_is_ours_and_bad_is_refused_whatever_else_is_there(
    pair: Pair,
    user: tuple[int, str],  # noqa: F811
    authorization: str,
) -> None:
    cookie = f"sessionid={user[1]}; csrftoken={TOKEN}"
    headers = {"Authorization": authorization, "Cookie": cookie}
    for path in ("/events/?topic=demo.foreign", events_url("orders.1"), "/events/"):
        async with Stream(pair.one.port, path, headers=headers) as stream:
            assert stream.status == 401
            assert stream.headers["www-authenticate"] == 'Bearer realm="carillon"'
    status, _ = await asyncio.to_thread(publish, pair, **headers, X_CSRFToken=TOKEN)
    assert status == 401


@pytest.mark.usefixtures("user")  # which makes the tables of keys
def test_a_publisher_behind_a_proxy_with_basic_auth_has_a_header_of_its_own(pair: Pair) -> None:
    assert publish(pair, Authorization=BASIC, X_API_Key=PUBLISH_KEY)[0] == 201
    assert publish(pair, X_API_Key=PUBLISH_KEY)[0] == 201
    assert publish(pair, Authorization=f"{BASIC}, Bearer {PUBLISH_KEY}")[0] == 201
    assert publish(pair, Authorization=BASIC, X_API_Key=UNKNOWN[7:])[0] == 401


async def test_a_websocket_passes_it_over_and_reads_ours(pair: Pair, topic: str) -> None:
    claim = {"subscribe": [f"orders.{topic}"], "publish": []}
    own = token(header={"kid": "default"}, carillon=claim)
    async with connected(pair.one, additional_headers={"Authorization": BASIC}) as client:
        assert (await client.subscribe("a", topic))["type"] == "subscribed"
        refused = await client.subscribe("b", f"orders.{topic}")
        assert (refused["type"], refused["code"]) == ("error", "unauthenticated")
    async with connected(
        pair.one, additional_headers={"Authorization": BASIC, "X-API-Key": own}
    ) as client:
        assert (await client.subscribe("a", f"orders.{topic}"))["type"] == "subscribed"


def test_of_several_headers_that_with_our_key_counts(pair: Pair) -> None:
    body = b'{"topic": "demo.foreign", "data": "x"}'
    for lines in ((BASIC, f"Bearer {PUBLISH_KEY}"), (f"Bearer {PUBLISH_KEY}", BASIC)):
        with closing(HTTPConnection("127.0.0.1", pair.one.port, timeout=20)) as connection:
            connection.putrequest("POST", "/publish/")
            for line in lines:
                connection.putheader("Authorization", line)
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            assert connection.getresponse().status == 201
