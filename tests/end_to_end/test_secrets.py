"""The credentials of a request are in no log, under each server."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from notifications.telemetry.redaction import REDACTED
from tests.end_to_end.conftest import Pair
from tests.harness.tokens import token

SECRET = "53cr3t-53cr3t"
KEY = "crl_abcdefgh_" + "a1B2" * 10 + "xyz"


PATHS = "/events/?topic=demo.a&{}", "/publish/?{}", "/nowhere?{}"


def test_no_log_has_the_link_token_key_or_session_of_a_request(pair: Pair) -> None:
    text = token()
    queries = [f"link={SECRET}", f"token={text}", f"tok%65n={SECRET}", f"x={KEY}"]
    shown = [f"Bearer {KEY}", f"Bearer {text}", f"Basic {SECRET}", ""]
    for path in PATHS:
        for query, authorization in zip(queries, shown, strict=True):
            headers = {"Authorization": authorization, "Cookie": f"sessionid={SECRET}"}
            pair.one.request("HEAD", path.format(query), headers=headers)
    log = pair.one.log.read_text()
    for secret in SECRET, KEY, text.split(".")[2]:
        assert secret not in log
    if pair.kind == "uvicorn":
        assert f"link={REDACTED}" in log  # it logs the path of each request


async def test_no_log_has_the_link_of_a_websocket(pair: Pair) -> None:
    url = f"ws://127.0.0.1:{pair.one.port}/ws/%s?link={SECRET}"
    async with connect(url % "events/", open_timeout=20):
        pass
    with pytest.raises(InvalidStatus):
        await connect(url % "nowhere/", open_timeout=20)
    log = await asyncio.to_thread(pair.one.log.read_text)
    assert SECRET not in log
    if pair.kind == "uvicorn":
        assert f"/ws/events/?link={REDACTED}" in log
