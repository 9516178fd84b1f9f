"""Proxies as processes that end with the test."""

import os
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from notifications.management.doctor.target import BrowserSSLContext
from tests.harness.servers import START_DEADLINE_SECONDS, Process, binary, free_port

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

APACHE_MODULES = (
    *("mpm_event", "authz_core", "env", "setenvif", "mime", "filter", "deflate", "alias"),
    *("asis", "headers", "http2", "proxy", "proxy_http", "proxy_wstunnel", "ssl"),
)
"""Those that Debian enables and that make a difference, and those that docs/deploy.md enables."""

APACHE_MODULES_FOLDER = Path("/usr/lib/apache2/modules")

APACHE = """
ServerRoot {folder}
ServerName localhost
PidFile apache.pid
ErrorLog /dev/stderr
Listen 127.0.0.1:{port}
User www-data
Group www-data
TypesConfig /etc/mime.types
AddOutputFilterByType DEFLATE text/html text/plain text/css application/json
{modules}
{text}
"""


@dataclass
class Proxy(Process):
    scheme: str = "https"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"


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
    context = BrowserSSLContext(ssl.PROTOCOL_TLS_CLIENT)
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
    options = f"{{\n\tadmin off\n\tgrace_period 1s\n\tskip_install_trust\n\t{ports}\n}}\n"
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


@contextmanager
def apache(folder: Path, port: int, text: str, *, scheme: str = "http") -> Iterator[Proxy]:
    program = binary("apache2")
    modules = "\n".join(
        f"LoadModule {name}_module {APACHE_MODULES_FOLDER}/mod_{name}.so" for name in APACHE_MODULES
    )
    configuration = folder / "apache.conf"
    configuration.write_text(APACHE.format(folder=folder, port=port, modules=modules, text=text))
    command = [program, "-DFOREGROUND", "-f", str(configuration)]
    with running(command, folder, port, scheme=scheme) as proxy:
        yield proxy


@contextmanager
def lighttpd(folder: Path, port: int, text: str, *, scheme: str = "http") -> Iterator[Proxy]:
    configuration = folder / "lighttpd.conf"
    configuration.write_text(text)
    command = [binary("lighttpd"), "-D", "-f", str(configuration)]
    with running(command, folder, port, scheme=scheme) as proxy:
        yield proxy


@contextmanager
def varnish(
    folder: Path, port: int, text: str, *, parameters: tuple[str, ...] = ()
) -> Iterator[Proxy]:
    """`parameters` are of the form `send_timeout=2`."""
    configuration = folder / "default.vcl"
    configuration.write_text(text)
    working_folder = folder / "varnish"
    command = [
        *(binary("varnishd"), "-F", "-j", "none", "-n", str(working_folder)),
        *("-a", f"127.0.0.1:{port}", "-f", str(configuration)),
        *(word for parameter in parameters for word in ("-p", parameter)),
    ]
    with running(command, folder, port, scheme="http") as proxy:
        yield proxy


@contextmanager
def h2o(folder: Path, port: int, text: str, *, scheme: str = "http") -> Iterator[Proxy]:
    configuration = folder / "h2o.conf"
    configuration.write_text(text)
    command = [binary("h2o"), "-m", "worker", "-c", str(configuration)]
    with running(command, folder, port, scheme=scheme) as proxy:
        yield proxy
