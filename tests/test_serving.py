"""`carillon dev` and `carillon serve`, as the processes that people run."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import psutil
import pytest

from notifications.log import embedded
from notifications.management.carillon.listener import address, listen
from tests.servers import ROOT, RedisServer, environment, listening, migrate
from tests.streams import subscribe

DEADLINE = 30.0


class Served:
    """A `manage.py carillon …`, and what it has said so far."""

    def __init__(self, *arguments: str, environment: dict[str, str]) -> None:
        self.said = ""
        self.popen = subprocess.Popen(
            [sys.executable, "manage.py", "carillon", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def says(self, pattern: str) -> str:
        """Waits for a line in which the pattern is, and returns its first group."""
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            self.said += line
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(f"It ended without saying {pattern!r}:\n{self.said}")

    @property
    def port(self) -> int:
        return int(self.says(r"http://127\.0\.0\.1:(\d+)/"))

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.popen.pid).children()

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status; the rest of what it says is in `said`."""
        self.popen.send_signal(by)
        rest, _ = self.popen.communicate(timeout=DEADLINE)
        self.said += rest
        return self.popen.returncode


@contextmanager
def served(*arguments: str, environment: dict[str, str]) -> Iterator[Served]:
    process = Served(*arguments, environment=environment)
    try:
        yield process
    finally:
        process.end(signal.SIGKILL)


@pytest.fixture
def development(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment that `./run` makes, but for the folder of the data and the port."""
    without = {"REDIS_URL", "SECRET_KEY", "CARILLON_PUBLISH_KEYS"}
    given = {name: value for name, value in os.environ.items() if name not in without}
    settings = {"DJANGO_SETTINGS_MODULE": "config.settings", "DEBUG": "1", "PORT": "0"}
    yield {**given, **settings, "DATA_DIR": str(tmp_path)}
    with embedded.running(tmp_path):
        pass


@pytest.fixture
def production(redis: RedisServer, tmp_path: Path) -> dict[str, str]:
    migrate(redis.url, tmp_path)
    return environment(redis.url, tmp_path, {"PORT": "0"})


def is_running(folder: Path) -> bool:
    return Path(unquote(urlsplit(embedded.url(folder)).path)).exists()


def is_live(port: int) -> bool:
    live = httpx.get(f"http://127.0.0.1:{port}/health/live", timeout=DEADLINE)
    return live.status_code == 200


def post_as_told(line: str) -> httpx.Response:
    """The curl line of the welcome, done without curl."""
    words = shlex.split(line)
    given = list(zip(words[1:-1:2], words[2:-1:2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in given if option == "-H")
    form = dict(value.split("=", 1) for option, value in given if option == "-d")
    return httpx.post(words[-1], headers=headers, data=form, timeout=DEADLINE)


async def test_dev_tells_a_line_that_publishes_to_anybody_who_listens(
    development: dict[str, str],
) -> None:
    with served("dev", environment=development) as dev:
        port = dev.port
        async with subscribe(port, "demo.hello") as stream:
            assert post_as_told(dev.says(r"(curl .*)")).status_code == 201
            assert (await stream.next_event()).data == "Hello!"


def test_dev_offers_a_login_that_works(development: dict[str, str]) -> None:
    with served("dev", environment=development) as dev:
        line = dev.says(r"sign in  (.*)")
        found = re.match(r"(\S+) as (\S+), password (\S+)", line)
        assert found
        login, username, password = found.groups()
        with httpx.Client(timeout=DEADLINE) as browser:
            browser.get(login)
            form = {
                "username": username,
                "password": password,
                "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            }
            answer = browser.post(login, data=form)
        assert (answer.status_code, answer.headers["location"]) == (302, "/")


def test_dev_serves_static_files_that_nobody_collected(development: dict[str, str]) -> None:
    with served("dev", environment=development) as dev:
        url = f"http://127.0.0.1:{dev.port}/static/admin/css/base.css"
        css = httpx.get(url, timeout=DEADLINE)
        assert css.status_code == 200


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
async def test_dev_ends_at_once_and_tells_its_streams(
    development: dict[str, str], tmp_path: Path, by: signal.Signals
) -> None:
    with served("dev", environment=development) as dev:
        port = dev.port
        async with subscribe(port, "demo.x") as stream:
            assert (await stream.next()).type == "stream.cursor"
            with socket.create_connection(("127.0.0.1", port)) as half_a_request:
                half_a_request.sendall(b"GET / HT")
                assert dev.end(by) == 0
            assert [event.type async for event in stream] == ["stream.closing"]
        assert "Traceback" not in dev.said
    assert not is_running(tmp_path)


async def test_a_killed_dev_starts_again_and_its_log_goes_on(development: dict[str, str]) -> None:
    with served("dev", environment=development) as dev:
        port = dev.port
        async with subscribe(port, "demo.hello") as stream:
            publish = dev.says(r"(curl .*)")
            post_as_told(publish)
            cursor = (await stream.next_event()).id
            post_as_told(publish.replace("Hello!", "Again!"))
            dev.end(signal.SIGKILL)
    with served("dev", environment={**development, "PORT": str(port)}) as dev:
        async with subscribe(dev.port, "demo.hello", cursor=cursor) as stream:
            assert (await stream.next_event()).data == "Again!"


def test_a_port_in_use_is_one_clear_line_and_nothing_is_started(
    development: dict[str, str], tmp_path: Path
) -> None:
    with listening() as other:
        port = other.getsockname()[1]
        with served("dev", environment={**development, "PORT": str(port)}) as dev:
            dev.says(rf"CommandError: (Port {port} of 127\.0\.0\.1 is in use.*PORT=8001)")
            assert dev.popen.wait(DEADLINE) == 1
            assert dev.popen.stdout
            assert dev.popen.stdout.read() == ""
    assert not (tmp_path / "valkey").exists()
    assert not (tmp_path / "db.sqlite3").exists()


def test_what_is_not_configured_is_one_clear_line(development: dict[str, str]) -> None:
    with served("serve", environment={**development, "DEBUG": "0"}) as serve:
        serve.says("(Not started. SECRET_KEY is not set)")
        assert serve.popen.wait(DEADLINE) == 1
        assert "Traceback" not in serve.said


async def test_serve_serves_and_ends_at_once(production: dict[str, str]) -> None:
    with served("serve", environment=production) as serve:
        async with subscribe(serve.port, "demo.x") as stream:
            assert (await stream.next()).type == "stream.cursor"
            assert serve.end() == 0
            assert [event.type async for event in stream] == ["stream.closing"]
        assert "Traceback" not in serve.said


@pytest.mark.parametrize("milliseconds", [0, 30, 60, 100, 200, 400])
def test_a_signal_while_it_starts_is_not_lost(
    production: dict[str, str], milliseconds: int
) -> None:
    with served("serve", environment=production) as serve:
        serve.says("(Carillon serves)")
        with pytest.raises(subprocess.TimeoutExpired):
            serve.popen.wait(milliseconds / 1000)
        assert serve.end() == 0
        assert "Traceback" not in serve.said


async def test_workers_share_the_port_and_one_that_dies_is_replaced(
    production: dict[str, str],
) -> None:
    with served("serve", "--workers", "2", environment=production) as serve:
        port = serve.port
        assert is_live(port)
        before = serve.workers()
        assert len(before) == 2
        async with subscribe(port, "demo.x") as stream:
            assert (await stream.next()).type == "stream.cursor"
        before[0].kill()
        serve.says(f"worker.died (pid={before[0].pid})")
        assert all(is_live(port) for _ in range(20))
        after = serve.workers()
        assert len({worker.pid for worker in [*before, *after]}) == 3
        assert serve.end() == 0
        assert psutil.wait_procs(after, DEADLINE)[1] == []


def test_workers_do_not_outlive_a_killed_master(production: dict[str, str]) -> None:
    with served("serve", "--workers", "2", environment=production) as serve:
        port = serve.port
        assert is_live(port)
        workers = serve.workers()
        serve.end(signal.SIGKILL)
        assert psutil.wait_procs(workers, DEADLINE)[1] == []
        listen("127.0.0.1", port).close()


def test_ipv6_is_listened_on_and_named_as_urls_name_it() -> None:
    with listen("::1", 0) as listener:
        assert address(listener) == f"http://[::1]:{listener.getsockname()[1]}"
