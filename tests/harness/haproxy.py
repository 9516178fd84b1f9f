"""A real HAProxy, which routes streams by one health check and publications by another."""

import http.client
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.proxies import haproxy
from tests.harness.servers import POLL_SECONDS, START_DEADLINE_SECONDS, free_port

CHECK_SECONDS = 0.2
"""Between two checks of a server: so long at least it is taken for one that is down."""
CONFIGURATION = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 5s
  default-server inter {inter}ms fall 2 rise 1
frontend public
  bind 127.0.0.1:{port}
  monitor-uri /watch
  default_backend streams
  use_backend publishers if {{ path_beg /publish }}
frontend streams-up
  bind 127.0.0.1:{streams}
  monitor-uri /
  monitor fail if {{ nbsrv(streams) lt {number} }}
frontend publishers-up
  bind 127.0.0.1:{publishers}
  monitor-uri /
  monitor fail if {{ nbsrv(publishers) gt 0 }}
backend streams
  option httpchk
  http-check send meth GET uri /health/ready hdr Host localhost
{servers}
backend publishers
  option httpchk
  http-check send meth GET uri /health/publish hdr Host localhost
{servers}
"""


@dataclass
class Balancer:
    port: int
    streams_port: int
    """Answers 200 while every server is up for streams."""
    publishers_port: int
    """Answers 200 while no server is up for publications."""

    @property
    def serves_streams(self) -> bool:
        return _is_ok(self.streams_port)

    @property
    def refuses_publications(self) -> bool:
        return _is_ok(self.publishers_port)


def _is_ok(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    finally:
        connection.close()


@contextmanager
def balancer(folder: Path, ports: Sequence[int]) -> Iterator[Balancer]:
    """An HAProxy before the servers on these ports, once all are up for streams."""
    made = Balancer(free_port(), free_port(), free_port())
    servers = "\n".join(f"  server s{port} 127.0.0.1:{port} check" for port in ports)
    text = CONFIGURATION.format(
        inter=round(CHECK_SECONDS * 1000),
        port=made.port,
        streams=made.streams_port,
        publishers=made.publishers_port,
        number=len(ports),
        servers=servers,
    )
    with haproxy(folder, made.port, text) as proxy:
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while not made.serves_streams:
            assert time.monotonic() < deadline, proxy.log.read_text()
            time.sleep(POLL_SECONDS)
        yield made
