"""`carillon dev` and `carillon serve` as processes."""

import re
import shlex
import signal
import socket
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from notifications.log import embedded
from tests.harness.event_source import subscribe
from tests.harness.manage import DEADLINE_SECONDS, carillon_process
from tests.harness.servers import RedisServer, environment, listening, migrate


@pytest.fixture
def production(redis: RedisServer, tmp_path: Path) -> dict[str, str]:
    migrate(tmp_path)
    return environment(redis.url, tmp_path, {"PORT": "0", "CARILLON_DRAIN_SECONDS": "0"})


@pytest.fixture
def tables(tmp_path: Path) -> None:
    """The database of `dev` has its tables: making them is most of its first start."""
    migrate(tmp_path)


def is_running(folder: Path) -> bool:
    return Path(unquote(urlsplit(embedded.url(folder)).path)).exists()


def run_curl_line(line: str) -> httpx.Response:
    """Do what the curl line of the welcome does, without curl."""
    _, url, *words = shlex.split(line)
    given = list(zip(words[::2], words[1::2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in given if option == "-H")
    [body] = [value for option, value in given if option == "-d"]
    return httpx.post(url, headers=headers, content=body, timeout=DEADLINE_SECONDS)


async def test_dev_prints_a_curl_line_that_publishes_to_subscribers(
    development: dict[str, str],
) -> None:
    with carillon_process("dev", environment=development) as dev:
        port = dev.port
        async with subscribe(port, "demo.hello") as stream:
            assert run_curl_line(dev.wait_for(r"(curl .*)")).status_code == 201
            assert (await stream.next_event()).data == '{"text":"Hello!"}'


@pytest.mark.usefixtures("tables")
def test_the_doctor_needs_no_options_for_dev(development: dict[str, str]) -> None:
    with carillon_process("dev", environment=development) as dev:
        url = f"http://127.0.0.1:{dev.port}"
        with carillon_process("doctor", url, "--http1", environment=development) as doctor:
            assert doctor.wait() == 0, doctor.output
    assert "No fault." in doctor.output
    assert "chunks" in doctor.output  # a test for which a key is needed


@pytest.mark.usefixtures("tables")
def test_dev_offers_a_login_that_works(development: dict[str, str]) -> None:
    with carillon_process("dev", environment=development) as dev:
        line = dev.wait_for(r"sign in  (.*)")
        found = re.match(r"(\S+) as (\S+), password (\S+)", line)
        assert found
        login, username, password = found.groups()
        with httpx.Client(timeout=DEADLINE_SECONDS) as browser:
            browser.get(login)
            form = {
                "username": username,
                "password": password,
                "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            }
            answer = browser.post(login, data=form)
        assert (answer.status_code, answer.headers["location"]) == (302, "/")


def test_serve_serves_static_files_that_nobody_collected(production: dict[str, str]) -> None:
    with carillon_process("serve", environment=production) as serve:
        page = httpx.get(f"http://127.0.0.1:{serve.port}/", timeout=DEADLINE_SECONDS)
        assert page.status_code == 200
        [name] = re.findall(r'href="(/static/carillon/page\.css)"', page.text)
        css = httpx.get(f"http://127.0.0.1:{serve.port}{name}", timeout=DEADLINE_SECONDS)
        assert (css.status_code, css.headers["content-type"].partition(";")[0]) == (200, "text/css")
    assert "Warning" not in serve.output


@pytest.mark.usefixtures("tables")
def test_dev_serves_static_files_that_nobody_collected(development: dict[str, str]) -> None:
    with carillon_process("dev", environment=development) as dev:
        url = f"http://127.0.0.1:{dev.port}/static/admin/css/base.css"
        css = httpx.get(url, timeout=DEADLINE_SECONDS)
        assert css.status_code == 200


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
async def test_dev_ends_at_once_and_closes_its_streams(
    development: dict[str, str], tmp_path: Path, by: signal.Signals
) -> None:
    with carillon_process("dev", environment=development) as dev:
        port = dev.port
        async with subscribe(port, "demo.x") as stream:
            assert (await stream.next()).type == "stream.cursor"
            with socket.create_connection(("127.0.0.1", port)) as half_a_request:
                half_a_request.sendall(b"GET / HT")
                assert dev.end(by) == 0
            assert [event.type async for event in stream] == ["stream.closing"]
        assert "Traceback" not in dev.output
    assert not is_running(tmp_path)


@pytest.mark.usefixtures("tables")
async def test_a_killed_dev_starts_again_with_its_log(development: dict[str, str]) -> None:
    with carillon_process("dev", environment=development) as dev:
        port = dev.port
        async with subscribe(port, "demo.hello") as stream:
            publish = dev.wait_for(r"(curl .*)")
            run_curl_line(publish)
            cursor = (await stream.next_event()).id
            run_curl_line(publish.replace("Hello!", "Again!"))
            dev.end(signal.SIGKILL)
    with carillon_process("dev", environment={**development, "PORT": str(port)}) as dev:
        async with subscribe(dev.port, "demo.hello", cursor=cursor) as stream:
            assert (await stream.next_event()).data == '{"text":"Again!"}'


def test_a_port_in_use_is_one_clear_line_and_nothing_is_started(
    development: dict[str, str], tmp_path: Path
) -> None:
    with listening() as other:
        port = other.getsockname()[1]
        with carillon_process("dev", environment={**development, "PORT": str(port)}) as dev:
            dev.wait_for(rf"CommandError: (Port {port} of 127\.0\.0\.1 is in use.*PORT=8001)")
            assert dev.popen.wait(DEADLINE_SECONDS) == 1
            assert dev.popen.stdout
            assert dev.popen.stdout.read() == ""
    assert not (tmp_path / "valkey").exists()
    assert not (tmp_path / "db.sqlite3").exists()


def test_a_missing_setting_is_one_clear_line(development: dict[str, str]) -> None:
    with carillon_process("serve", environment={**development, "DEBUG": "0"}) as serve:
        serve.wait_for("(Not started. SECRET_KEY is not set)")
        assert serve.popen.wait(DEADLINE_SECONDS) == 1
        assert "Traceback" not in serve.output


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_serve_logs_no_secret_of_a_request(production: dict[str, str], server: str) -> None:
    with carillon_process("serve", "--server", server, environment=production) as serve:
        url = f"http://127.0.0.1:{serve.port}"
        for path in "/events/?topic=demo.x&link=53cr3t", "/publish/?token=53cr3t", "/no?key=53cr3t":
            httpx.head(
                url + path, headers={"Authorization": "Bearer 53cr3t"}, timeout=DEADLINE_SECONDS
            )
        serve.end()
    assert "53cr3t" not in serve.output
    assert "Unauthorized: /events/\n" in serve.output  # Django's own line, and no access log


@pytest.mark.parametrize("milliseconds", [0, 100, 300, 600])
def test_a_signal_while_it_starts_is_not_lost(
    production: dict[str, str], milliseconds: int
) -> None:
    with carillon_process("serve", environment=production) as serve:
        serve.wait_for("(Carillon serves)")
        with pytest.raises(subprocess.TimeoutExpired):
            serve.popen.wait(milliseconds / 1000)
        assert serve.end() == 0
        assert "Traceback" not in serve.output
