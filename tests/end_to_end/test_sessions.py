"""A session: the topics that it opens, the topics that it does not open, and CSRF."""

import asyncio
import json

import pytest

from tests.end_to_end.conftest import Pair
from tests.end_to_end.test_handoff import MAKE_USERS
from tests.harness.event_source import Stream
from tests.harness.servers import WebServer, manage, migrate

TOKEN = "a" * 32
PROMOTE = "User.objects.update(is_superuser=True)"


@pytest.fixture(scope="module")
def user(pair: Pair) -> tuple[int, str]:
    """A user who may publish: the primary key, and a session key at the first server."""
    folder, nowhere = pair.one.log.parent, "redis://127.0.0.1:1/0"
    migrate(folder)
    code = f"{MAKE_USERS % 1}\n{PROMOTE}"
    [made] = json.loads(manage("shell", "-v0", "-c", code, redis_url=nowhere, folder=folder))
    return made[0], made[1]


def publish(web: WebServer, session: str, **headers: str) -> int:
    cookie = f"sessionid={session}; csrftoken={TOKEN}"
    status, _, _ = web.request(
        "POST",
        "/publish/",
        body=b'{"topic":"demo.session","data":"x"}',
        headers={"Content-Type": "application/json", "Cookie": cookie, **headers},
    )
    return status


def test_a_session_publishes_with_its_csrf_token_and_not_without(
    pair: Pair, user: tuple[int, str]
) -> None:
    _, session = user
    assert publish(pair.one, session) == 403
    assert publish(pair.one, session, **{"X-CSRFToken": "b" * 32}) == 403
    assert publish(pair.one, session, **{"X-CSRFToken": TOKEN}) == 201
    assert publish(pair.one, "no-such-session", **{"X-CSRFToken": TOKEN}) == 401


async def test_a_session_opens_its_user_s_topic(pair: Pair, user: tuple[int, str]) -> None:
    pk, session = user
    for cookie, status in ((session, 200), ("no-such-session", 403), ("", 403)):
        stream = Stream(
            pair.one.port,
            f"/events/?topic=user.{pk}",
            headers={"Cookie": f"sessionid={cookie}"} if cookie else {},
        )
        async with stream:
            assert stream.status == status
            if status == 200:
                assert (await stream.next()).type == "stream.cursor"
                await asyncio.to_thread(
                    pair.one.publish, {"topic": f"user.{pk}", "data": "for one alone"}
                )
                assert (await stream.next_event()).data == "for one alone"
