"""Redis behind passwords and TLS: a server, a Sentinel with its own users, and a cluster of one."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from tests.harness.failover import SLOTS, execute, is_linked, knows_replica, wait_until
from tests.harness.servers import ROOT, RedisServer, free_port, redis_binary

PASSWORD = "53cr3t of/the:l@g?"
ADMIN_PASSWORD = "an-admin's-passw0rd"
SENTINEL_PASSWORD = "s3ntinels&"
PASSWORDS = tuple(
    form
    for password in (PASSWORD, ADMIN_PASSWORD, SENTINEL_PASSWORD)
    for form in (password, quote(password, safe=""))
)
"""As they are, and quoted as in a URL."""


def documented_user() -> str:
    """The line for the log's user in Redis, as docs/run.md has it."""
    match = re.search(r"^user carillon .*$", (ROOT / "docs" / "run.md").read_text(), re.MULTILINE)
    assert match is not None
    return (
        match[0].replace(">PASSWORD", f'">{PASSWORD}"').replace(" ~", ' "~').replace(":* ", ':*" ')
    )


def documented_url(sentinel: "LockedServer") -> str:
    """The Sentinel URL of docs/run.md, for this server. The first Sentinel in it is down."""
    text = (ROOT / "docs" / "run.md").read_text()
    match = re.search(r"^REDIS_URL=(rediss\+sentinel://\S+)$", text, re.MULTILINE)
    assert match is not None
    authority = "&ssl_ca_certs=/etc/ssl/redis-ca.pem"
    values = {
        "PASSWORD": quote(PASSWORD, safe=""),
        "OTHER": quote(SENTINEL_PASSWORD, safe=""),
        "one:26379,two:26379": f"127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}",
        "/mymaster/": "/main/",
        authority: f"&ssl_ca_certs={quote(str(sentinel.ca), safe='')}" if sentinel.ca else "",
        "rediss": sentinel.scheme,
    }
    url = match[1]
    for placeholder, value in values.items():
        assert placeholder in url
        url = url.replace(placeholder, value, 1)
    return url


@dataclass
class LockedServer(RedisServer):
    """A server with passwords. `url` is for the administrator, who may do anything."""

    ca: Path | None

    @property
    def url(self) -> str:
        return (
            f"{self.scheme}://:{quote(ADMIN_PASSWORD, safe='')}@127.0.0.1:{self.port}/0{self.query}"
        )

    @property
    def scheme(self) -> str:
        return "rediss" if self.ca else "redis"

    @property
    def query(self) -> str:
        return f"?{urlencode({'ssl_ca_certs': str(self.ca)})}" if self.ca else ""


@contextmanager
def locked(
    folder: Path, *lines: str, tls: tuple[Path, Path] | None, sentinel: bool = False
) -> Iterator[LockedServer]:
    """Run a server with these lines in its configuration."""
    folder.mkdir(parents=True)
    port, ca = free_port(), None
    config = [f"bind 127.0.0.1\ndir {folder}", *lines, f'requirepass "{ADMIN_PASSWORD}"']
    if tls is None:
        config += [f"port {port}"]
    else:
        ca, key = tls
        config += [f"port 0\ntls-port {port}\ntls-cert-file {ca}\ntls-key-file {key}"]
        config += [f"tls-ca-cert-file {ca}\ntls-auth-clients no\ntls-replication yes"]
    file, log = folder / "redis.conf", folder / "server.log"
    file.write_text("\n".join(config) + "\n")
    with log.open("ab") as out:
        popen = subprocess.Popen(
            [redis_binary("redis"), str(file), *(["--sentinel"] if sentinel else [])],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
        )
    server = LockedServer(popen, port, log, ca)
    try:
        wait_until(lambda: execute(server, "PING"))
        yield server
    finally:
        server.stop()


@dataclass
class LockedLog:
    """The URL of a log behind passwords, and the server that has it."""

    url: str
    master: LockedServer
    replica: LockedServer | None = None


@contextmanager
def alone(folder: Path, tls: tuple[Path, Path] | None) -> Iterator[LockedLog]:
    with locked(folder / "one", documented_user(), 'save ""', tls=tls) as server:
        user = f"carillon:{quote(PASSWORD, safe='')}"
        url = f"{server.scheme}://{user}@127.0.0.1:{server.port}/0{server.query}"
        yield LockedLog(url, server)


@contextmanager
def clustered(folder: Path, tls: tuple[Path, Path] | None) -> Iterator[LockedLog]:
    lines = [documented_user(), 'save ""', "cluster-enabled yes", f"cluster-port {free_port()}"]
    lines += ["tls-cluster yes"] if tls else []
    with locked(folder / "node", *lines, tls=tls) as server:
        execute(server, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        wait_until(lambda: b"cluster_state:ok" in execute(server, "CLUSTER", "INFO"))
        user = f"carillon:{quote(PASSWORD, safe='')}"
        url = f"{server.scheme}+cluster://{user}@127.0.0.1:{server.port}{server.query}"
        yield LockedLog(url, server)


@contextmanager
def watched(folder: Path, tls: tuple[Path, Path] | None) -> Iterator[LockedLog]:
    """A master and its replica, and a Sentinel with its own user and password."""
    lines = [
        documented_user(),
        'save ""',
        f'masterauth "{ADMIN_PASSWORD}"',
        "repl-diskless-sync-delay 0",
    ]
    with ExitStack() as stack:
        master = stack.enter_context(locked(folder / "master", *lines, tls=tls))
        replicaof = f"replicaof 127.0.0.1 {master.port}"
        replica = stack.enter_context(locked(folder / "replica", *lines, replicaof, tls=tls))
        wait_until(lambda: is_linked(replica))
        watch = [
            f"sentinel monitor main 127.0.0.1 {master.port} 1",
            f'sentinel auth-pass main "{ADMIN_PASSWORD}"',
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 1000",
            f'user asker on ">{SENTINEL_PASSWORD}" +sentinel|get-master-addr-by-name +@connection',
        ]
        sentinel = stack.enter_context(locked(folder / "sentinel", *watch, tls=tls, sentinel=True))
        wait_until(lambda: knows_replica(sentinel))
        yield LockedLog(documented_url(sentinel), master, replica)
