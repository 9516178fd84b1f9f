"""nginx, Caddy and HAProxy as processes that end with the test."""

import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.harness.servers import START_DEADLINE_SECONDS, Process, free_port, needs

POLL_SECONDS = 0.02

NGINX = """
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{text}
}}
"""
"""The frame of every nginx of the tests; `text` is the content of `http`."""


@dataclass
class Proxy(Process):
    scheme: str = "https"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"


def binary(name: str) -> str:
    """The path of a program. On Debian some are in a folder that only root has in PATH."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    needs(name, found=found)
    return str(found)


@contextmanager
def running(command: list[str], folder: Path, port: int, *, scheme: str) -> Iterator[Proxy]:
    log = folder / "proxy.log"
    with log.open("ab") as out:
        popen = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    proxy = Proxy(popen, port, log, scheme)
    try:
        _wait_for(proxy)
        yield proxy
    finally:
        proxy.stop()


def _wait_for(proxy: Proxy) -> None:
    """Wait until it answers, with any status."""
    context = trusting_anybody() if proxy.scheme == "https" else True
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    with httpx.Client(verify=context, trust_env=False, timeout=START_DEADLINE_SECONDS) as client:
        while True:
            try:
                client.get(f"{proxy.url}/nowhere")
            except httpx.TransportError as error:
                if proxy.popen.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(proxy.log.read_text()) from error
                time.sleep(POLL_SECONDS)
            else:
                return


def trusting_anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def nginx(folder: Path, port: int, text: str, *, scheme: str = "http") -> Iterator[Proxy]:
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(text=text))
    command = [binary("nginx"), "-p", str(folder), "-c", str(configuration)]
    with running(command, folder, port, scheme=scheme) as proxy:
        yield proxy


@contextmanager
def caddy(folder: Path, port: int, text: str, *, scheme: str = "http") -> Iterator[Proxy]:
    configuration = folder / "Caddyfile"
    other = free_port()
    http, https = (other, port) if scheme == "https" else (port, other)
    ports = f"http_port {http}\n\thttps_port {https}"
    options = f"{{\n\tadmin off\n\tskip_install_trust\n\t{ports}\n}}\n"
    configuration.write_text(options + text)
    command = [binary("caddy"), "run", "--config", str(configuration), "--adapter", "caddyfile"]
    with running(command, folder, port, scheme=scheme) as proxy:
        yield proxy


@contextmanager
def haproxy(folder: Path, port: int, text: str, *, scheme: str = "http") -> Iterator[Proxy]:
    configuration = folder / "haproxy.cfg"
    configuration.write_text(text)
    command = [binary("haproxy"), "-db", "-f", str(configuration)]
    with running(command, folder, port, scheme=scheme) as proxy:
        yield proxy
