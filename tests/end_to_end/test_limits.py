"""Limits of a real `carillon serve`, under each server: addresses behind proxies, age, rates."""

import asyncio
import json
import time
from collections.abc import Iterator
from itertools import count

import httpx
import pytest

from tests.harness.event_source import Stream, subscribe
from tests.harness.manage import DEADLINE_SECONDS, CarillonProcess, carillon_process
from tests.harness.servers import PUBLISH_KEY, RedisServer, environment, wait_until_ready

AGE_SECONDS = 2
AUTHORIZED = {"Authorization": f"Bearer {PUBLISH_KEY}"}


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def serve(
    request: pytest.FixtureRequest,
    session_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[CarillonProcess]:
    folder = tmp_path_factory.mktemp("project")
    settings = {
        "PORT": "0",
        "CARILLON_DRAIN_SECONDS": "0",
        "CARILLON_MAX_STREAMS_PER_ADDRESS": "2",
        "CARILLON_MAX_STREAM_AGE": str(AGE_SECONDS),
        "CARILLON_PUBLISH_RATE": "0.01",
        "CARILLON_TRUSTED_PROXIES": "127.0.0.1,192.0.2.0/24",
    }
    given = environment(session_redis.url, folder, settings)
    arguments = ("--server", request.param, "--proxy-headers")
    with carillon_process("serve", *arguments, environment=given) as serve:
        wait_until_ready(serve.port)
        yield serve


def forwarded(serve: CarillonProcess, *hops: str) -> Stream:
    return Stream(serve.port, "/events/?topic=demo.x", headers={"X-Forwarded-For": ", ".join(hops)})


async def test_a_forged_header_gives_a_client_no_other_address(
    serve: CarillonProcess,
) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        took = float(AGE_SECONDS)
        networks = count()
        while took > AGE_SECONDS / 2:  # otherwise the first streams may have ended by their age
            began = time.monotonic()
            types = await _first_types(serve, f"203.0.{next(networks)}")
            took = time.monotonic() - began
    assert types == ["stream.cursor", "stream.cursor", "stream.closing", "stream.cursor"]


async def _first_types(serve: CarillonProcess, network: str) -> list[str]:
    """The type of the first event of three streams of one client, and of one of another client."""
    client, proxy = f"{network}.1", "192.0.2.9"
    async with (
        forwarded(serve, "198.51.100.1", client) as one,
        forwarded(serve, "198.51.100.2", client, proxy) as two,
        forwarded(serve, "198.51.100.3", client) as three,
        forwarded(serve, f"{network}.2") as other,
    ):
        return [(await stream.next()).type for stream in (one, two, three, other)]


async def test_an_old_stream_ends_and_its_connection_is_closed(
    serve: CarillonProcess,
) -> None:
    async with subscribe(serve.port, "demo.x") as stream:
        assert (await stream.next()).type == "stream.cursor"
        last = await stream.next()
        assert (last.type, last.data) == ("stream.closing", '{"reason":"too_old"}')
        with pytest.raises(EOFError):
            await stream.next()
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await stream.closed()


def test_a_client_that_publishes_too_fast_gets_429(serve: CarillonProcess) -> None:
    url = f"http://127.0.0.1:{serve.port}/publish/"
    event = json.dumps({"topic": "demo.x", "data": 1})
    headers = {**AUTHORIZED, "Content-Type": "application/json"}
    with httpx.Client(headers=headers, timeout=DEADLINE_SECONDS) as client:
        answers = [client.post(url, content=event) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 429]
    assert int(answers[1].headers["Retry-After"]) >= 1
