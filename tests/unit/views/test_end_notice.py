"""`end_notice=TOPIC`: the end of a stream is published. `tests/proxies` tests it with a server."""

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient

from notifications.asgi.responses import EventStreamResponse
from notifications.errors import Unavailable
from notifications.views import end_notice
from tests.harness.django_client import AUTHORIZED, answer

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")


async def test_a_stream_that_is_iterated_over_publishes_its_end_too() -> None:
    notices: list[str] = []

    async def end_notice() -> None:
        notices.append("left")

    stream = EventStreamResponse(["demo.x"], end_notice=end_notice).stream
    await anext(stream)
    assert notices == []
    await stream.aclose()
    assert notices == ["left"]


async def test_while_the_log_is_away_the_end_is_only_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def unavailable(*_: object, **__: object) -> None:
        raise Unavailable("Redis is away.", outcome="not_sent")

    monkeypatch.setattr(end_notice, "apublish", unavailable)
    await end_notice.publish_end("demo.x")
    assert "end_notice.failed" in caplog.text


async def test_an_end_notice_requires_a_key(async_client: AsyncClient) -> None:
    refused = await async_client.get("/events/?topic=demo.x&end_notice=demo.x")
    assert answer(refused).is_problem(403, "forbidden")


@pytest.mark.django_db(transaction=True)
async def test_a_session_is_not_enough(async_client: AsyncClient) -> None:
    user = await User.objects.acreate_superuser("ada", password="sesame")
    await async_client.aforce_login(user)
    refused = await async_client.get("/events/?topic=demo.x&end_notice=demo.x")
    assert answer(refused).is_problem(403, "forbidden")


async def test_an_invalid_topic_is_refused(async_client: AsyncClient) -> None:
    refused = await async_client.get("/events/?topic=demo.x&end_notice=a%0Ab", headers=AUTHORIZED)
    assert refused.status_code == 400
