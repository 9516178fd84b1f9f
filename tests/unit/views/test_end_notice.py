"""`witness=TOPIC`: a stream whose end is published. That it is, `tests/proxies` sees."""

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient

from notifications.asgi.responses import EventStreamResponse
from notifications.errors import Unavailable
from notifications.views import end_notice
from tests.harness.django_client import AUTHORIZED, answer

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")


async def test_a_stream_that_is_iterated_over_has_its_witness_too() -> None:
    said: list[str] = []

    async def end_notice() -> None:
        said.append("left")

    stream = EventStreamResponse(["demo.x"], end_notice=end_notice).stream
    await anext(stream)
    assert said == []
    await stream.aclose()
    assert said == ["left"]


async def test_a_log_that_is_away_makes_no_trouble_for_who_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def unavailable(*_: object, **__: object) -> None:
        raise Unavailable("Redis is away.", outcome="not_sent")

    monkeypatch.setattr(end_notice, "apublish", unavailable)
    await end_notice._bear_witness("demo.x")
    assert "witness.unheard" in caplog.text


async def test_nobody_without_a_key_has_a_witness(async_client: AsyncClient) -> None:
    refused = await async_client.get("/events/?topic=demo.x&witness=demo.x")
    assert answer(refused).is_problem(403, "forbidden")


@pytest.mark.django_db(transaction=True)
async def test_a_session_makes_no_visitor_publish(async_client: AsyncClient) -> None:
    user = await User.objects.acreate_superuser("ada", password="sesame")
    await async_client.aforce_login(user)
    refused = await async_client.get("/events/?topic=demo.x&witness=demo.x")
    assert answer(refused).is_problem(403, "forbidden")


async def test_what_is_no_topic_is_refused(async_client: AsyncClient) -> None:
    refused = await async_client.get("/events/?topic=demo.x&witness=a%0Ab", headers=AUTHORIZED)
    assert refused.status_code == 400
