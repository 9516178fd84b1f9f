"""Whatever befalls Redis: streams stay, publishing says the truth, and the checker finds nothing.

Two processes behind an HAProxy that checks their health, on a Redis behind a relay, under load.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.site import KEEPALIVE
from tests.harness.crowd import Crowd, Http, Listener, Talker, crowd
from tests.harness.event_source import subscribe
from tests.harness.haproxy import Balancer, balancer
from tests.harness.redis_faults import DISTURBANCES, LOSSES, OUTAGES, Fault, Place, place
from tests.harness.servers import WebServer, daphne, uvicorn, wait_until_ready

NOTICED = 15.0
"""Seconds, of a busy machine: it takes the bound of publishing, which is one, and two checks."""
SWIFT = "tests.faults.short_timeout_settings"

pytestmark = pytest.mark.usefixtures("swift_loop")


@dataclass
class Balanced:
    place: Place
    webs: list[WebServer]
    balancer: Balancer


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    folder: Path = tmp_path_factory.mktemp("balanced")
    with ExitStack() as stack:
        where = stack.enter_context(place(folder / "redis"))
        webs = [
            stack.enter_context(
                serve(
                    where.network.url,
                    folder / serve.__name__,
                    DJANGO_SETTINGS_MODULE=SWIFT,
                    CARILLON_KEEPALIVE=str(KEEPALIVE),
                )
            )
            for serve in (daphne, uvicorn)
        ]
        for web in webs:
            wait_until_ready(web.port)
        proxy = stack.enter_context(balancer(folder, [web.port for web in webs]))
        yield Balanced(where, webs, proxy)


@asynccontextmanager
async def busy(balanced: Balanced, topic: str) -> AsyncIterator[Crowd]:
    """Subscribers of each process and of the balancer, publishers with keys and without."""
    ports = [web.port for web in balanced.webs]
    listeners = [
        *(Listener(f"at {port}", [port], [topic]) for port in ports),
        Listener("balanced", [balanced.balancer.port], [topic]),
        Listener("idle", [ports[0]], [f"{topic}.idle"]),
    ]
    talkers = [
        Talker(f"{topic} {port}", topic, Http(port), keys=keys)
        for port, keys in zip(ports, (True, False), strict=True)
    ]
    async with crowd(listeners, talkers) as people:
        await people.more(5)
        yield people
        await people.more(5)
        await people.together()
    assert people.violations() == []
    assert [listener.ends for listener in listeners] == [0] * len(listeners)


async def noticed(balanced: Balanced) -> None:
    """Wait until the balancer sends no publications here; streams it sends all the time."""
    async with asyncio.timeout(NOTICED):
        while not await asyncio.to_thread(lambda: balanced.balancer.refuses_publications):
            assert await asyncio.to_thread(lambda: balanced.balancer.serves_streams)
    for web in balanced.webs:
        assert (await asyncio.to_thread(web.get, "/health/ready"))[0] == 200


@pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES)
async def test_while_redis_takes_nothing_streams_stay_and_open_and_nothing_is_lost(
    balanced: Balanced, topic: str, fault: Fault
) -> None:
    async with busy(balanced, topic) as people:
        with fault(balanced.place):
            await noticed(balanced)
            async with subscribe(balanced.balancer.port, topic) as late:
                assert (late.status, (await late.next()).type) == (200, "stream.cursor")
            for web in balanced.webs:
                event = {"topic": f"{topic}.unheard", "data": "refused"}
                status, said = await asyncio.to_thread(web.publish, event)
                assert (status, said["outcome"] in ("not_sent", "unknown")) == (503, True)
    assert [listener.heard.resets for listener in people.listeners] == [[]] * 4


@pytest.mark.parametrize("disturb", DISTURBANCES.values(), ids=DISTURBANCES)
async def test_a_disturbance_is_noticed_by_nobody(
    balanced: Balanced, topic: str, disturb: Callable[[Place], None]
) -> None:
    async with busy(balanced, topic) as people:
        await asyncio.to_thread(disturb, balanced.place)
    assert [listener.heard.resets for listener in people.listeners] == [[]] * 4
    assert [each.outcome for each in people.published if each.cursor is None] == []


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
async def test_a_loss_is_one_reset_for_everyone(
    balanced: Balanced, topic: str, lose: Callable[[Place], None]
) -> None:
    async with busy(balanced, topic) as people:
        await asyncio.to_thread(lose, balanced.place)
    assert [listener.heard.resets for listener in people.listeners] == [["log_lost"]] * 4
