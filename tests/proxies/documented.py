"""The configurations of docs/deploy.md, run before an origin on some port of this machine."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.harness.certificates import write_certificate
from tests.harness.proxies import (
    Proxy,
    apache,
    caddy,
    h2o,
    haproxy,
    lighttpd,
    nginx,
    varnish,
)
from tests.harness.servers import ROOT, free_port

DEPLOY = (ROOT / "docs" / "deploy.md").read_text()
UPSTREAM = "127.0.0.1:8000"


def block(language: str, *, holding: str) -> str:
    """The code block of docs/deploy.md in this language that has this word in it."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", DEPLOY, re.DOTALL)
    [code] = [block for block in blocks if holding in block]
    return code


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """The text with each old part, which must be there, replaced by a value of the test."""
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextmanager
def nginx_as_documented(folder: Path, origin: int) -> Iterator[Proxy]:
    port, (crt, key) = free_port(), write_certificate(folder)
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
def caddy_as_documented(folder: Path, origin: int) -> Iterator[Proxy]:
    text = replaced(block("caddyfile", holding="DOMAIN"), (UPSTREAM, f"127.0.0.1:{origin}"))
    with caddy(folder, free_port(), text, scheme="https") as proxy:
        yield proxy


@contextmanager
def haproxy_as_documented(folder: Path, origin: int) -> Iterator[Proxy]:
    port, (crt, key) = free_port(), write_certificate(folder)
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


CERTIFICATE = "/etc/ssl/carillon/fullchain.pem"
PRIVATE_KEY = "/etc/ssl/carillon/privkey.pem"


@contextmanager
def apache_as_documented(folder: Path, origin: int) -> Iterator[Proxy]:
    port, (crt, key) = free_port(), write_certificate(folder)
    # Its workers have a user of their own, who cannot read pytest's folders.
    readable = Path(tempfile.mkdtemp(prefix="carillon-apache-"))
    readable.chmod(0o755)
    (readable / "come-back.asis").write_text(block("asis", holding="Status"))
    text = replaced(
        block("apache", holding="VirtualHost"),
        (UPSTREAM, f"127.0.0.1:{origin}"),
        ("*:443", f"*:{port}"),
        ("/var/www", str(readable)),
        (CERTIFICATE, str(crt)),
        (PRIVATE_KEY, str(key)),
    )
    try:
        with apache(folder, port, text, scheme="https") as proxy:
            yield proxy
    finally:
        shutil.rmtree(readable)


@contextmanager
def lighttpd_as_documented(folder: Path, origin: int) -> Iterator[Proxy]:
    port, (crt, key) = free_port(), write_certificate(folder)
    script = folder / "come-back.lua"
    script.write_text(block("lua", holding="retry"))
    text = replaced(
        block("lighttpd", holding="proxy.server"),
        ('"port" => 8000', f'"port" => {origin}'),
        ("server.port = 443", f'server.port = {port}\nserver.bind = "127.0.0.1"'),
        ("/etc/lighttpd/come-back.lua", str(script)),
        (CERTIFICATE, str(crt)),
        (PRIVATE_KEY, str(key)),
    )
    with lighttpd(folder, port, text, scheme="https") as proxy:
        yield proxy


@contextmanager
def varnish_as_documented(folder: Path, origin: int, *parameters: str) -> Iterator[Proxy]:
    text = replaced(block("vcl", holding="backend"), ('"8000"', f'"{origin}"'))
    with varnish(folder, free_port(), text, parameters=parameters) as proxy:
        yield proxy


@contextmanager
def h2o_as_documented(folder: Path, origin: int) -> Iterator[Proxy]:
    port, (crt, key) = free_port(), write_certificate(folder)
    text = replaced(
        block("yaml", holding="proxy.reverse.url"),
        (UPSTREAM, f"127.0.0.1:{origin}"),
        ("port: 443", f"port: {port}\n      host: 127.0.0.1"),
        (CERTIFICATE, str(crt)),
        (PRIVATE_KEY, str(key)),
    )
    with h2o(folder, port, text, scheme="https") as proxy:
        yield proxy


DOCUMENTED: dict[str, Callable[[Path, int], AbstractContextManager[Proxy]]] = {
    "nginx": nginx_as_documented,
    "caddy": caddy_as_documented,
    "haproxy": haproxy_as_documented,
    "apache": apache_as_documented,
    "lighttpd": lighttpd_as_documented,
    "varnish": varnish_as_documented,
    "h2o": h2o_as_documented,
}
KEEPS_ERRORS = "h2o"
"""The one proxy that cannot turn a 502 into a stream."""


def certificate_of(name: str, proxy: Proxy) -> Path:
    """The certificate authority that a client of this proxy must trust."""
    folder = proxy.log.parent
    if name == "caddy":
        return folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    return folder / "localhost.crt"
