"""The servers of the site, started by the commands in docs/install.md."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tests.harness.proxies import NGINX
from tests.harness.servers import Process, binary, free_port
from tests.install import text
from tests.install.site import Site

ADDRESS = "127.0.0.1"

SITE = """
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{pages};
            proxy_set_header Host $http_host;
        }}
{streams}
    }}
"""


def wait_until_up(port: int) -> None:
    """Wait until a server answers on this port."""
    # After eight pauses, each twice as long as the one before, more than a minute is over.
    with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
        client.get(f"http://{ADDRESS}:{port}/nowhere", timeout=30)


@contextmanager
def process(
    site: Site, command: list[str], port: int, log: Path, **environment: str
) -> Iterator[Process]:
    with log.open("ab") as out:
        popen = subprocess.Popen(
            command,
            cwd=site.folder,
            env={**site.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    server = Process(popen, port, log)
    try:
        wait_until_up(port)
        yield server
    finally:
        server.stop()


def _runserver(port: int) -> list[str]:
    return [*text.command("runserver"), "--noreload", f"{ADDRESS}:{port}"]


def _daphne(port: int) -> list[str]:
    return [*text.command("daphne mysite"), "--bind", ADDRESS, "--port", str(port)]


def _uvicorn(port: int) -> list[str]:
    return [*text.command("uvicorn --timeout"), "--port", str(port)]


def _gunicorn(port: int) -> list[str]:
    return [*text.command("gunicorn -k asgi"), "--workers", "2", "--bind", f"{ADDRESS}:{port}"]


def _gunicorn_with_uvicorn(port: int) -> list[str]:
    worker = "uvicorn_worker.UvicornWorker"
    assert f"`-k {worker}`" in text.INSTALL
    return [worker if word == "asgi" else word for word in _gunicorn(port)]


COMMANDS = {
    "runserver": _runserver,
    "daphne": _daphne,
    "uvicorn": _uvicorn,
    "gunicorn": _gunicorn,
    "gunicorn with uvicorn": _gunicorn_with_uvicorn,
}


@contextmanager
def served(site: Site, server: str, folder: Path, **environment: str) -> Iterator[Process]:
    port = free_port()
    log = folder / "server.log"
    with process(site, COMMANDS[server](port), port, log, **environment) as running:
        yield running


@contextmanager
def wsgi(site: Site, folder: Path) -> Iterator[Process]:
    """gunicorn with its own WSGI workers."""
    port = free_port()
    command = [*text.command("mysite.wsgi"), "--bind", f"{ADDRESS}:{port}"]
    settings = site.stay_on_wsgi()
    with process(site, command, port, folder / "gunicorn.log", **settings) as server:
        yield server


@contextmanager
def routed_aside(site: Site, folder: Path) -> Iterator[Process]:
    """nginx in front of gunicorn, with the streams routed to `carillon serve`."""
    with ExitStack() as stack:
        pages = stack.enter_context(wsgi(site, folder))
        documented = text.command("carillon serve")
        streams, port = free_port(), free_port()
        serve = [*documented[:-1], str(streams)]
        settings = site.stay_on_wsgi()
        stack.enter_context(process(site, serve, streams, folder / "serve.log", **settings))
        location = text.block("nginx", holding="/events/").replace(documented[-1], str(streams))
        configuration = folder / "nginx.conf"
        site_text = SITE.format(port=port, pages=pages.port, streams=location)
        configuration.write_text(NGINX.format(text=site_text))
        command = [binary("nginx"), "-p", str(folder), "-c", str(configuration)]
        yield stack.enter_context(process(site, command, port, folder / "nginx.log"))
