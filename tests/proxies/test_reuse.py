"""Proxies that keep their connections to the origin: none puts a request on that of a stream.

A stream ends by a close of its connection. If its head did not say so, the next request of anybody
might be on its way there, and would get no answer or the end of the stream.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from http.client import HTTPConnection
from itertools import count
from pathlib import Path

import pytest

from tests.end_to_end.conftest import loop_without_debug
from tests.harness.event_source import Stream
from tests.harness.proxies import Proxy, haproxy, nginx
from tests.harness.servers import (
    COMMANDS,
    PUBLISH_KEY,
    WebServer,
    free_port,
    redis_server,
    wait_until_ready,
    web_server,
)

__all__ = ["loop_without_debug"]

DEADLINE_SECONDS = 60.0
STREAMS, ENDED = 16, 32
PUBLISHERS, PUBLISHED = 8, 25
SETTINGS = {"CARILLON_MAX_STREAM_AGE": "1"}
PATH = "/events/?topic=demo.reuse"
COMMAND = {**COMMANDS, "uvicorn": [*COMMANDS["uvicorn"], "--timeout-keep-alive", "75"]}
"""uvicorn itself closes idle connections after 5 seconds, which no proxy foresees."""

NGINX = """
    upstream origins {{
        server 127.0.0.1:{0};
        server 127.0.0.1:{1};
        keepalive 32;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://origins;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_next_upstream off;
        }}
    }}
"""

HAPROXY = """
defaults
  mode http
  http-reuse always
  retries 0
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen origins
  bind 127.0.0.1:{port}
  balance roundrobin
  server one 127.0.0.1:{0}
  server other 127.0.0.1:{1}
"""

type Start = Callable[[Path, list[int]], AbstractContextManager[Proxy]]


@contextmanager
def nginx_that_reuses(folder: Path, origins: list[int]) -> Iterator[Proxy]:
    port = free_port()
    with nginx(folder, port, NGINX.format(*origins, port=port)) as proxy:
        yield proxy


@contextmanager
def haproxy_that_reuses(folder: Path, origins: list[int]) -> Iterator[Proxy]:
    port = free_port()
    with haproxy(folder, port, HAPROXY.format(*origins, port=port)) as proxy:
        yield proxy


PROXIES: dict[str, Start] = {"nginx": nginx_that_reuses, "haproxy": haproxy_that_reuses}


@pytest.fixture(scope="module")
def origins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[WebServer]]:
    """Daphne and uvicorn. Their streams grow old within a second or so."""
    folder = tmp_path_factory.mktemp("origins")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        servers = [
            stack.enter_context(
                web_server(command, redis_url=redis.url, folder=folder / kind, settings=SETTINGS)
            )
            for kind, command in COMMAND.items()
        ]
        for server in servers:
            wait_until_ready(server.port)
        yield servers


class Crowd:
    """Clients of one proxy: some open streams again and again, others publish all the time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = count()
        self.ended = 0
        self.published = 0
        self.finished = False

    async def run(self) -> None:
        streaming = [self._stream() for _ in range(STREAMS)]
        publishing = [asyncio.to_thread(self._publish) for _ in range(PUBLISHERS)]
        await asyncio.gather(*streaming, *publishing)

    async def _stream(self) -> None:
        while not self.finished:
            async with Stream(self._port, PATH, deadline_seconds=DEADLINE_SECONDS) as stream:
                events = [event async for event in stream]
            assert (events[0].type, events[-1].type) == ("stream.cursor", "stream.closing")
            self.ended += 1

    def _publish(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE_SECONDS)
        headers = {"Authorization": f"Bearer {PUBLISH_KEY}", "Content-Type": "application/json"}
        try:
            while not self.finished:
                event = {"topic": "demo.reuse", "data": "x", "id": f"urn:{next(self._numbers)}"}
                connection.request("POST", "/publish/", json.dumps(event), headers)
                response = connection.getresponse()
                body = response.read()
                assert response.status == 201, body
                assert json.loads(body)["id"] == event["id"]
                self.published += 1
                self.finished |= self.ended >= ENDED and self.published >= PUBLISHERS * PUBLISHED
        finally:
            self.finished = True
            connection.close()


@pytest.mark.usefixtures("loop_without_debug")
@pytest.mark.parametrize("name", PROXIES)
async def test_no_publication_meets_a_stream_that_ends(
    name: str, origins: list[WebServer], tmp_path: Path
) -> None:
    with PROXIES[name](tmp_path, [origin.port for origin in origins]) as proxy:
        async with asyncio.timeout(DEADLINE_SECONDS * 2):
            await Crowd(proxy.port).run()
