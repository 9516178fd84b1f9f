"""A real HAProxy, which routes streams by one health check and publications by the other."""

import http.client
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.servers import START_DEADLINE, Process, free_port, needs

CONFIGURATION = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout check 5s
  default-server inter 100ms fall 2 rise 1
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
class Balancer(Process):
    streams: int
    publishers: int

    @property
    def serves_streams(self) -> bool:
        """Every server is up for streams."""
        return _says(self.streams)

    @property
    def refuses_publications(self) -> bool:
        """No server is up for publications."""
        return _says(self.publishers)


def _says(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except ConnectionError:
        return False  # it has not started yet
    finally:
        connection.close()


@contextmanager
def balancer(folder: Path, ports: Sequence[int]) -> Iterator[Balancer]:
    binary = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    needs("haproxy", found=binary)
    own = [free_port() for _ in range(3)]
    servers = "\n".join(f"  server s{port} 127.0.0.1:{port} check" for port in ports)
    configuration, log = folder / "haproxy.cfg", folder / "haproxy.log"
    configuration.write_text(
        CONFIGURATION.format(
            port=own[0], streams=own[1], publishers=own[2], number=len(ports), servers=servers
        )
    )
    with log.open("ab") as out:
        popen = subprocess.Popen(
            [str(binary), "-db", "-f", str(configuration)], stdout=out, stderr=out
        )
    server = Balancer(popen, own[0], log, own[1], own[2])
    try:
        deadline = time.monotonic() + START_DEADLINE
        while not server.serves_streams:
            assert time.monotonic() < deadline, log.read_text()
        yield server
    finally:
        server.stop()
