"""The servers that are measured, each in its own process with its own Redis."""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from benchmarks.builds import THIS_BUILD, Build
from benchmarks.processes import Broken, family, free_port, running, wait_for_http

SERVERS = ("uvicorn", "daphne")
PROBE_FOLDER = Path(__file__).parent / "probe"
PUBLISH_KEY = "a-publish-key-for-the-benchmark"
NCHAN_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
TOPIC = "demo.t"
# The referee replaces it by the time and padding.
MARK = "@T%019llu@%s"


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server: its port and process, how to subscribe to it and how to publish."""

    port: int
    pid: int
    path: str
    publish_path: str
    body: str = MARK
    content_type: str = "text/plain"
    publish_headers: str = ""

    @property
    def pids(self) -> list[int]:
        return family(self.pid)


@dataclass(frozen=True, slots=True)
class Store:
    """A Redis server."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "Redis":
        retry = Retry(ConstantBackoff(0.02), 500)
        return Redis.from_url(self.url, retry=retry, retry_on_error=[RedisError])


@contextmanager
def redis(folder: Path) -> Iterator[Store]:
    binary = shutil.which("redis-server")
    if binary is None:
        raise Broken("redis-server is not installed (apt install redis-server).")
    port = free_port()
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    command += ["--save", "", "--appendonly", "no"]
    with running(command, log=folder / "redis.log") as process:
        store = Store(port, process.pid)
        with store.client() as client:
            client.ping()
        yield store


def environment(folder: Path, store: Store) -> dict[str, str]:
    """Production settings as shipped, except that one user may open all the streams."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DEBUG": "0",
        "SECRET_KEY": "for the benchmark alone: not a secret, and long enough for the checks",
        "REDIS_URL": store.url,
        "DATA_DIR": str(folder),
        "CARILLON_PUBLISH_KEYS": PUBLISH_KEY,
        "CARILLON_PUBLIC_TOPICS": "demo.",
        "CARILLON_MAX_STREAMS_PER_USER": "0",
        # Python imports benchmarks/probe/sitecustomize.py at its start.
        "PYTHONPATH": str(PROBE_FOLDER),
        "BENCH_PROBES": str(folder),
    }


@contextmanager
def carillon(
    folder: Path,
    store: Store,
    server: str,
    *,
    workers: int = 1,
    port: int | None = None,
    build: Build = THIS_BUILD,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Peer]:
    """Ours. `settings` are environment variables."""
    port = port or free_port()
    command = [build.python, "manage.py", "carillon", "serve", "--port", str(port)]
    command += ["--server", server, "--workers", str(workers)]
    peer = Peer(
        port,
        0,
        f"/events/?topic={TOPIC}",
        "/publish/",
        f'{{"topic":"{TOPIC}","data":"{MARK}"}}',
        "application/json",
        f"Authorization: Bearer {PUBLISH_KEY}\r\n",
    )
    log = folder / f"carillon-{server}.log"
    variables = environment(folder, store) | dict(settings)
    with running(command, log=log, environment=variables, folder=build.root) as process:
        # Several requests, so that each worker has answered one.
        for _ in range(10 * workers):
            wait_for_http(process, port, "/health/ready", log=log)
        yield replace(peer, pid=process.pid)


def _uvicorn(application: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "uvicorn", application, "--port", str(port)),
        *("--no-access-log", "--timeout-graceful-shutdown", "1", "--log-level", "warning"),
    ]


def _daphne(application: str, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port)),
        *("--verbosity", "0", application),
    ]


@contextmanager
def site(
    folder: Path, store: Store, name: str, server: str, *, workers: int = 1, port: int | None = None
) -> Iterator[Peer]:
    """One of `benchmarks.sites`: `eventstream`, `stored`, `migrated`, `fastapi` or `bare`.

    Several workers are for uvicorn alone: Daphne has none.
    """
    variables = site_environment(folder, store)
    application = f"benchmarks.sites.{name}:application"
    with _site(
        application, server, variables, folder / f"{name}-{server}.log", workers, port
    ) as peer:
        yield peer


@contextmanager
def views(folder: Path, store: Store, handler: str, server: str) -> Iterator[Peer]:
    """`benchmarks.sites.views` by the handler `djangos` or `ours`, with our settings."""
    variables = environment(folder, store)
    log = folder / f"views-{handler}-{server}.log"
    with _site(f"benchmarks.sites.views:{handler}", server, variables, log) as peer:
        yield peer


@contextmanager
def _site(
    application: str,
    server: str,
    variables: Mapping[str, str],
    log: Path,
    workers: int = 1,
    port: int | None = None,
) -> Iterator[Peer]:
    port = port or free_port()
    command = (_uvicorn if server == "uvicorn" else _daphne)(application, port)
    if workers > 1:
        command += ["--workers", str(workers)]
    with running(command, log=log, environment=dict(variables)) as process:
        wait_for_http(process, port, "/up", log=log)
        yield Peer(port, process.pid, "/events/", "/publish/")


def site_environment(folder: Path, store: Store) -> dict[str, str]:
    variables = {**os.environ, "REDIS_URL": store.url, "REDIS_PORT": str(store.port)}
    variables.pop("DJANGO_SETTINGS_MODULE", None)
    return variables | {"DATABASE": str(folder / "site.sqlite3")}


def nchan_is_missing() -> str | None:
    """The reason why nchan cannot be measured on this machine, or None."""
    if shutil.which("nginx") is None or not NCHAN_MODULE.exists():
        return "nchan is not installed (apt install nginx libnginx-mod-nchan)"
    return None


@contextmanager
def nchan(
    folder: Path, *, workers: int = 1, port: int | None = None, store: Store | None = None
) -> Iterator[Peer]:
    """nchan, a C module of nginx, with its memory store, or with a Redis and a deep buffer."""
    port = port or free_port()
    conf = folder / "nchan.conf"
    conf.write_text(_nchan_conf(folder, port, workers, store))
    log = folder / "nchan.log"
    with running(["nginx", "-c", str(conf)], log=log) as process:
        wait_for_http(process, port, "/up", log=log)
        yield Peer(port, process.pid, "/sub/t", "/pub/t")


def _nchan_conf(folder: Path, port: int, workers: int, store: Store | None) -> str:
    upstream = f"upstream store {{ nchan_redis_server {store.url}; }}" if store else ""
    through = "nchan_redis_pass store;" if store else ""
    buffered = 10_000 if store else 10
    user = "user root;" if os.geteuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    return f"""
load_module {NCHAN_MODULE};
daemon off; {user} worker_processes {workers}; pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 19900; multi_accept on; }}
http {{
  access_log off; nchan_shared_memory_size 512M; {folders}
  {upstream}
  server {{
    listen 127.0.0.1:{port} backlog=65535 reuseport;
    location ~ ^/pub/([\\w.-]+)$ {{
      nchan_publisher; nchan_channel_id $1; {through}
      nchan_message_buffer_length {buffered}; nchan_message_timeout 5m;
    }}
    location ~ ^/sub/([\\w.-]+)$ {{
      nchan_subscriber eventsource; nchan_channel_id $1; {through}
      nchan_subscriber_first_message newest; nchan_eventsource_ping_interval 30;
    }}
  }}
}}
"""
