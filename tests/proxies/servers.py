"""nginx, Caddy and HAProxy as processes, by the text of docs/deploy.md or of a test's own."""

import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.harness.certificates import certificate
from tests.harness.nginx import NGINX
from tests.harness.servers import ROOT, START_DEADLINE, Process, free_port, needs

DEPLOY = (ROOT / "docs" / "deploy.md").read_text()
UPSTREAM = "127.0.0.1:8000"


def block(language: str, *, holding: str) -> str:
    """The code of that language in docs/deploy.md which holds a word."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", DEPLOY, re.DOTALL)
    [code] = [block for block in blocks if holding in block]
    return code


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """Each of these is there, and is replaced by what the machine of a test has."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


@dataclass
class Proxy(Process):
    scheme: str = "https"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"


def binary(name: str) -> str:
    """Some are for root alone to find, on Debian."""
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
    """Until it answers, whatever it does."""
    context = trusting_anybody() if proxy.scheme == "https" else True
    deadline = time.monotonic() + START_DEADLINE
    with httpx.Client(verify=context, trust_env=False, timeout=START_DEADLINE) as client:
        while True:
            try:
                client.get(f"{proxy.url}/nowhere")
            except httpx.TransportError as error:
                if proxy.popen.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(proxy.log.read_text()) from error
                time.sleep(0.02)
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


# As docs/deploy.md has them, before an origin on some port of this machine


@contextmanager
def nginx_as_told(folder: Path, origin: int) -> Iterator[Proxy]:
    port, (crt, key) = free_port(), certificate(folder)
    text = replaced(
        block("nginx", holding="come_back"),
        (UPSTREAM, f"127.0.0.1:{origin}"),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("/etc/ssl/carillon/fullchain.pem", str(crt)),
        ("/etc/ssl/carillon/privkey.pem", str(key)),
    )
    with nginx(folder, port, text, scheme="https") as proxy:
        yield proxy


@contextmanager
def caddy_as_told(folder: Path, origin: int) -> Iterator[Proxy]:
    text = replaced(block("caddyfile", holding="DOMAIN"), (UPSTREAM, f"127.0.0.1:{origin}"))
    with caddy(folder, free_port(), text, scheme="https") as proxy:
        yield proxy


@contextmanager
def haproxy_as_told(folder: Path, origin: int) -> Iterator[Proxy]:
    port, (crt, key) = free_port(), certificate(folder)
    both = folder / "both.pem"
    both.write_bytes(crt.read_bytes() + key.read_bytes())
    text = replaced(
        block("haproxy", holding="backend"),
        (UPSTREAM, f"127.0.0.1:{origin}"),
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("/etc/haproxy/carillon.pem", str(both)),
    )
    with haproxy(folder, port, text, scheme="https") as proxy:
        yield proxy


AS_TOLD: dict[str, Callable[[Path, int], AbstractContextManager[Proxy]]] = {
    "nginx": nginx_as_told,
    "caddy": caddy_as_told,
    "haproxy": haproxy_as_told,
}


def certificate_of(name: str, proxy: Proxy) -> Path:
    """What to trust to believe that proxy."""
    folder = proxy.log.parent
    if name == "caddy":
        return folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    return folder / "localhost.crt"
