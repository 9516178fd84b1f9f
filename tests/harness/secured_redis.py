"""Redis behind passwords and TLS: a server, a Sentinel with its own users, and a cluster of one."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from tests.harness.failover import SLOTS, ask, is_linked, wait
from tests.harness.servers import ROOT, RedisServer, free_port, redis_binary

SECRET, ADMIN, ASKING = "53cr3t of/the:l@g?", "an-admin's-passw0rd", "s3ntinels&"
SECRETS = tuple(
    encoder for each in (SECRET, ADMIN, ASKING) for encoder in (each, quote(each, safe=""))
)


def documented_user() -> str:
    """What docs/run.md gives the log's user in Redis."""
    found = re.search(r"^user carillon .*$", (ROOT / "docs" / "run.md").read_text(), re.MULTILINE)
    assert found is not None
    return found[0].replace(">PASSWORD", f'">{SECRET}"').replace(" ~", ' "~').replace(":* ", ':*" ')


def documented_url(sentinel: "LockedServer") -> str:
    """That of docs/run.md, for this one. The Sentinel that is asked first is down."""
    text = (ROOT / "docs" / "run.md").read_text()
    found = re.search(r"^REDIS_URL=(rediss\+sentinel://\S+)$", text, re.MULTILINE)
    assert found is not None
    authority = "&ssl_ca_certs=/etc/ssl/redis-ca.pem"
    here = {
        "PASSWORD": quote(SECRET, safe=""),
        "OTHER": quote(ASKING, safe=""),
        "one:26379,two:26379": f"127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}",
        "/mymaster/": "/main/",
        authority: f"&ssl_ca_certs={quote(str(sentinel.ca), safe='')}" if sentinel.ca else "",
        "rediss": sentinel.scheme,
    }
    url = found[1]
    for placeholder, value in here.items():
        assert placeholder in url
        url = url.replace(placeholder, value, 1)
    return url


@dataclass
class LockedServer(RedisServer):
    """`url` is the administrator's, who may do anything."""

    ca: Path | None

    @property
    def url(self) -> str:
        return f"{self.scheme}://:{quote(ADMIN, safe='')}@127.0.0.1:{self.port}/0{self.query}"

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
    """`lines` are of its configuration."""
    folder.mkdir(parents=True)
    port, ca = free_port(), None
    config = [f"bind 127.0.0.1\ndir {folder}", *lines, f'requirepass "{ADMIN}"']
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
        wait(lambda: ask(server, "PING"))
        yield server
    finally:
        server.stop()


@dataclass
class Locked:
    """A log behind passwords, and the server that has it."""

    url: str
    master: LockedServer
    replica: LockedServer | None = None


@contextmanager
def alone(folder: Path, tls: tuple[Path, Path] | None) -> Iterator[Locked]:
    with locked(folder / "one", documented_user(), 'save ""', tls=tls) as server:
        user = f"carillon:{quote(SECRET, safe='')}"
        url = f"{server.scheme}://{user}@127.0.0.1:{server.port}/0{server.query}"
        yield Locked(url, server)


@contextmanager
def clustered(folder: Path, tls: tuple[Path, Path] | None) -> Iterator[Locked]:
    lines = [documented_user(), 'save ""', "cluster-enabled yes", f"cluster-port {free_port()}"]
    lines += ["tls-cluster yes"] if tls else []
    with locked(folder / "node", *lines, tls=tls) as server:
        ask(server, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        wait(lambda: b"cluster_state:ok" in ask(server, "CLUSTER", "INFO"))
        user = f"carillon:{quote(SECRET, safe='')}"
        url = f"{server.scheme}+cluster://{user}@127.0.0.1:{server.port}{server.query}"
        yield Locked(url, server)


@contextmanager
def watched(folder: Path, tls: tuple[Path, Path] | None) -> Iterator[Locked]:
    """A master and its replica, and a Sentinel that has a user and a password of its own."""
    lines = [documented_user(), 'save ""', f'masterauth "{ADMIN}"', "repl-diskless-sync-delay 0"]
    with ExitStack() as stack:
        master = stack.enter_context(locked(folder / "master", *lines, tls=tls))
        of = f"replicaof 127.0.0.1 {master.port}"
        replica = stack.enter_context(locked(folder / "replica", *lines, of, tls=tls))
        wait(lambda: is_linked(replica))
        watch = [
            f"sentinel monitor main 127.0.0.1 {master.port} 1",
            f'sentinel auth-pass main "{ADMIN}"',
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 1000",
            f'user asker on ">{ASKING}" +sentinel|get-master-addr-by-name +@connection',
        ]
        sentinel = stack.enter_context(locked(folder / "sentinel", *watch, tls=tls, sentinel=True))
        wait(
            lambda: ask(sentinel, "SENTINEL", "REPLICAS", "main")[0][b"master-link-status"] == b"ok"
        )
        yield Locked(documented_url(sentinel), master, replica)
