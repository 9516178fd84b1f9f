"""Warnings about server options that harm streams, from checks and from a running server."""

import logging
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from notifications.asgi.server_warnings import ServerWarnings
from notifications.checks import serving
from tests.harness.event_source import subscribe
from tests.harness.servers import RedisServer, web_server
from tests.unit.checks.test_checks import ids, messages_of

REDIS = {"REDIS_URL": "redis://log"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('workers = 4\ntimeout = 30\nworker_class = "sync"', ["carillon.W026"]),
        ('worker_class = "gthread"', ["carillon.W026"]),
        ('worker_class = "uvicorn_worker.UvicornWorker"\nworkers = 4', []),
        ('worker_class = "asgi"\nmax_requests = 1000', ["carillon.W029"]),
        ('worker_class = "asgi"\nmax_requests = 0', []),
        ('worker_class = "sync"\nmax_requests = 1000', ["carillon.W026"]),
        ("max_requests = 1000", []),
        ("workers = 4", []),
        ('import os\nworker_class = os.environ["CLASS"]', []),
        ("worker_class = (", []),
    ],
)
def test_gunicorns_configuration_file_is_read(text: str, expected: list[str], folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(text)
    assert ids(CARILLON=REDIS) == expected


def test_gunicorns_environment_variable_takes_precedence_over_its_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "gunicorn.conf.py").write_text('worker_class = "uvicorn_worker.UvicornWorker"')
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--bind=:80 -k sync --timeout 60")
    [warning] = messages_of(CARILLON=REDIS)
    assert warning.id == "carillon.W026"
    assert "GUNICORN_CMD_ARGS" in warning.msg
    assert "60 s" in warning.msg


def test_a_gunicorn_that_ends_its_workers_by_an_argument_gets_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "-k uvicorn_worker.UvicornWorker --max-requests 500")
    [warning] = messages_of(CARILLON=REDIS)
    assert warning.id == "carillon.W029"
    assert "max_requests 500" in warning.msg


def test_several_workers_by_gunicorn_or_a_variable_need_a_shared_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "-k uvicorn_worker.UvicornWorker -w 4")
    assert ids() == ["carillon.W004"]
    assert ids(CARILLON=REDIS) == []
    monkeypatch.delenv("GUNICORN_CMD_ARGS")
    assert ids(WEB_CONCURRENCY=None) == []
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert ids(WEB_CONCURRENCY=None) == ["carillon.W004"]
    assert ids(WEB_CONCURRENCY=1) == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("runserver --http_timeout 30", ["carillon.W027"]),
        ("runserver --http_timeout=30 8000", ["carillon.W027"]),
        ("runserver", []),
        ("runserver --http_timeout soon", []),
        ("migrate --http_timeout 30", []),
    ],
)
def test_a_runserver_that_ends_streams_gets_a_warning(
    command: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", *command.split()])
    monkeypatch.setattr(serving, "get_commands", lambda: {"runserver": "daphne"})
    assert ids() == expected


# From inside a running server


class Config:
    timeout_graceful_shutdown: int | None = None
    callback_notify = None
    limit_max_requests: int | None = None
    workers = 1


Config.__module__ = "uvicorn.config"


class Cycle:
    def __init__(self, **config: Any) -> None:
        options = Config()
        vars(options).update(config)
        protocol = SimpleNamespace(config=options)
        self.transport = SimpleNamespace(get_protocol=lambda: protocol)

    async def send(self, message: Any) -> None: ...


class Server:
    http_timeout = 30.0

    def handle_reply(self, request: Any, message: Any) -> None: ...


Server.__module__ = "daphne.server"


@pytest.mark.parametrize(
    ("send", "is_detached", "event"),
    [
        (Cycle().send, False, "server.never_stops"),
        (Cycle().send, True, "server.cuts_streams"),
        (Cycle(timeout_graceful_shutdown=5).send, False, ""),
        (Cycle(callback_notify=print).send, False, ""),
        (Cycle(timeout_graceful_shutdown=5, limit_max_requests=9).send, False, ""),
        (Cycle(timeout_graceful_shutdown=5, workers=2).send, False, "server.several_logs"),
        (partial(Server().handle_reply, None), False, "server.http_timeout seconds=30"),
        (partial(Server().handle_reply, None), True, ""),
        (print, False, ""),
        (None, False, ""),
    ],
)
async def test_the_options_of_a_running_server_are_checked_once(
    send: Any, is_detached: bool, event: str, caplog: pytest.LogCaptureFixture
) -> None:
    warnings = ServerWarnings()
    with caplog.at_level(logging.WARNING, "carillon"):
        warnings.check(send, is_detached=is_detached)
        assert event in caplog.text
        assert bool(caplog.records) is bool(event)
        warnings.check(send, is_detached=is_detached)
    assert len(caplog.records) == bool(event)


async def test_the_options_of_a_real_server_are_checked_at_its_first_stream(
    redis: RedisServer, tmp_path: Path
) -> None:
    command = "uvicorn --lifespan off config.asgi:application"
    with web_server(command.split(), redis_url=redis.url, folder=tmp_path) as server:
        async with subscribe(server.port, "demo.x") as stream:
            assert (await stream.next()).type == "stream.cursor"
    assert server.log.read_text().count("server.cuts_streams") == 1
