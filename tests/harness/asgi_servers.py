"""Other people's ASGI servers as processes, with our project and the fewest options."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.harness.servers import (
    ROOT,
    START_DEADLINE_SECONDS,
    WebServer,
    environment,
    free_port,
    migrate,
    wait_until_ready,
)

APPLICATION = "config.asgi:application"
COMMANDS = {
    "gunicorn": f"gunicorn -k asgi -b 127.0.0.1:{{port}} {APPLICATION}",
    "granian": f"granian --interface asgi --host 127.0.0.1 --port {{port}} {APPLICATION}",
    "hypercorn": f"hypercorn -b 127.0.0.1:{{port}} {APPLICATION}",
    "uvicorn": f"uvicorn --port {{port}} {APPLICATION}",
    "daphne": f"daphne -v 0 -p {{port}} {APPLICATION}",
    "carillon serve": "django carillon serve --port {port}",
}
POLL_SECONDS = 0.05


@contextmanager
def asgi_server(
    name: str, *options: str, redis_url: str, folder: Path, **settings: str
) -> Iterator[WebServer]:
    """The server, once it is ready. It ends with the block, and its workers too."""
    migrate(folder)
    port = free_port()
    log = folder / f"{name.replace(' ', '-')}.log"
    with log.open("ab") as out:
        popen = subprocess.Popen(
            [sys.executable, "-m", *COMMANDS[name].format(port=port).split(), *options],
            cwd=ROOT,
            env=environment(redis_url, folder, settings),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    server = WebServer(popen, port, log)
    try:
        _wait_for_port(server)
        wait_until_ready(port)
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(popen.pid, signal.SIGKILL)
        popen.wait(START_DEADLINE_SECONDS)


def _wait_for_port(server: WebServer) -> None:
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    while True:
        try:
            httpx.get(f"{server.url}/health/live", timeout=START_DEADLINE_SECONDS, trust_env=False)
        except httpx.TransportError:
            assert server.popen.poll() is None, server.log.read_text()
            assert time.monotonic() < deadline, server.log.read_text()
            time.sleep(POLL_SECONDS)
        else:
            return
