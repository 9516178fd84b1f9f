"""The operator's page: what four processes report, a kick, and a process that does not answer."""

import json
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.end_to_end.shell import running_shell
from tests.end_to_end.test_ending import Site
from tests.harness.event_source import Stream
from tests.harness.promises import within
from tests.harness.servers import (
    SERVERS,
    START_DEADLINE_SECONDS,
    migrate,
    redis_server,
    wait_until_ready,
)

PAGE = "/admin/carillon/livestream/"
TOKEN = "t" * 32


class Operated(Site):
    operator: str

    def page(
        self, *, silent: int = 0, seconds: float = START_DEADLINE_SECONDS, **asked: str
    ) -> str:
        """The text of a page on which so many processes are silent, and which came in time.

        On a busy machine a process may answer too late for one page, and in time for the next.
        """
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while True:
            with within(seconds):
                text = self._text(**asked)
            if text.count("does not answer") == silent:
                return text
            assert time.monotonic() < deadline, text

    def _text(self, **asked: str) -> str:
        """Without tags and with single spaces."""
        url = f"{PAGE}?{urlencode(asked)}"
        status, _, body = self.servers[0].request("GET", url, headers={"Cookie": self.operator})
        assert status == 200, body
        html = body.decode()
        return unescape(re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", html)))

    def post(self, **fields: str) -> int:
        body = urlencode({"csrfmiddlewaretoken": TOKEN, **fields}).encode()
        headers = {
            "Cookie": f"{self.operator}; csrftoken={TOKEN}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        status, _, _ = self.servers[0].request("POST", PAGE, body=body, headers=headers)
        return status


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("operator")
    migrate(folder / "site")
    shared = {"DATABASE_URL": f"sqlite:///{folder / 'site' / 'db.sqlite3'}"}
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        servers = [
            stack.enter_context(SERVERS[kind](redis.url, folder / name, port=0, **shared))
            for kind, name in (
                *(("uvicorn", "one"), ("daphne", "two")),
                *(("uvicorn", "three"), ("daphne", "four")),
            )
        ]
        shell = stack.enter_context(running_shell(redis.url, folder / "shell", shared))
        made = Operated(redis, servers, shell)
        _, made.operator = made.user(is_staff=True, is_superuser=True)
        for server in servers:  # a runtime starts with the first stream, at the latest
            wait_until_ready(server.port)
        yield made


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as entered:
        yield entered


async def open_streams(site: Operated, stack: AsyncExitStack, **headers: Any) -> list[Stream]:
    """One in each process."""
    streams = []
    for server in site.servers:
        path = "/events/" if headers else "/events/?topic=demo.page"
        stream = await stack.enter_async_context(Stream(server.port, path, headers=headers))
        assert (await stream.next()).type == "stream.cursor"
        streams.append(stream)
    return streams


async def test_it_shows_the_streams_of_all_processes_and_ends_those_of_a_user(
    site: Operated, stack: AsyncExitStack
) -> None:
    pk, cookie = site.user(username="ada")
    mine = await open_streams(site, stack, Cookie=cookie)
    others = await open_streams(site, stack)
    page = site.page(user="ada")
    assert "8 streams in 4 processes" in page
    assert len(re.findall(rf"user\.{pk} \d+ s –", page)) == 4
    assert re.search(r"ada 4\b", page)
    assert re.search(r"demo\.page 4\b", page)
    assert site.post(user=str(pk)) == 302
    for stream in mine:
        closing = await stream.next_event()
        assert json.loads(closing.data) == {"reason": "kicked"}
    page = site.page(user=str(pk))
    assert page.count(": kicked") == 4
    # Those of others go on, and get what is published from the page.
    assert site.post(publish="1", topic="demo.page", data='{"n": 1}') == 302
    for stream in others:
        assert json.loads((await stream.next_event()).data) == {"n": 1}
    assert "There is no user nobody" in site.page(user="nobody")


async def test_a_process_that_is_stuck_is_shown_within_a_second(
    site: Operated, stack: AsyncExitStack
) -> None:
    await open_streams(site, stack)
    site.page()
    stuck = site.servers[-1]
    stuck.pause()
    try:
        assert "in 4 processes" in site.page(silent=1, seconds=1.5)
    finally:
        stuck.resume()
    assert "in 4 processes" in site.page(silent=0)
