"""Logs as JSON: the event and the fields of a line, and the id of its request."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
from django.test import AsyncClient
from pythonjsonlogger.json import JsonFormatter

from notifications.telemetry import audit
from notifications.telemetry.logs import Structured
from tests.harness.django_client import post
from tests.harness.servers import PUBLISH_KEY, ROOT, environment

LOGGER = logging.getLogger("carillon")


class JsonHandler(logging.Handler):
    """Formats each record as the project does, and stores it."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(Structured())
        self.setFormatter(JsonFormatter("%(levelname)s %(name)s %(message)s"))
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def json_log() -> Any:
    handler = JsonHandler()
    root = logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def test_a_line_of_ours_has_its_event_and_its_fields(json_log: JsonHandler) -> None:
    LOGGER.warning("stream.closed reason=%s topics=%d", "kicked", 2)
    LOGGER.warning("drain.started streams=%d seconds=%g: %s of it", 7, 2.5, "more")
    LOGGER.warning("log.away error=%r", ValueError("x"))
    closed, drained, away = json_log.lines
    assert closed["message"] == "stream.closed reason=kicked topics=2"
    assert (closed["event"], closed["fields"]) == (
        "stream.closed",
        {"reason": "kicked", "topics": 2},
    )
    assert (drained["event"], drained["fields"]) == (
        "drain.started",
        {"streams": 7, "seconds": 2.5},
    )
    assert away["fields"] == {"error": "x"}


def test_lines_of_other_libraries_get_only_a_request_id(json_log: JsonHandler) -> None:
    LOGGER.warning("Something in words, 100%")
    logging.getLogger("elsewhere").warning("a.b c=%s", 1)
    words, other = json_log.lines
    assert (words["event"], words["fields"]) == (None, {})
    assert "event" not in other
    assert other["request_id"] is None


def test_a_line_of_the_audit_keeps_its_fields(json_log: JsonHandler) -> None:
    audit.log_event(logging.WARNING, "publish.accepted", by="key:x", topics=["a", "b"])
    (line,) = json_log.lines
    assert line["event"] == "publish.accepted"
    assert line["fields"] == {"by": "key:x", "topics": ["a", "b"]}


@pytest.mark.usefixtures("own_log", "runtime_ends")
async def test_a_line_has_the_id_of_the_request_in_which_it_was_written(
    json_log: JsonHandler, async_client: AsyncClient
) -> None:
    headers = {"Authorization": f"Bearer {PUBLISH_KEY}", "X-Request-ID": "of-the-proxy"}
    assert (await post(async_client, {"topic": "demo.x", "data": 1}, headers=headers)).status == 201
    (accepted,) = [line for line in json_log.lines if line.get("event") == "publish.accepted"]
    assert accepted["request_id"] == "of-the-proxy"
    LOGGER.warning("stream.closed reason=%s", "x")
    assert json_log.lines[-1]["request_id"] is None


def test_the_project_logs_json_with_the_setting_log_format(tmp_path: Any) -> None:
    program = (
        "import django, logging; django.setup();"
        "logging.getLogger('carillon').info('stream.closed reason=%s', 'x');"
        "logging.getLogger('django.request').error('no', extra={'request': 'GET /?link=secret'})"
    )
    variables = environment("redis://127.0.0.1:1/0", tmp_path, {"LOG_FORMAT": "json"})
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    ours, djangos = [json.loads(line) for line in result.stderr.splitlines()]
    assert (ours["level"], ours["logger"], ours["event"]) == ("INFO", "carillon", "stream.closed")
    assert ours["time"].startswith("20")
    assert djangos["message"] == "no"
    assert "secret" not in result.stderr
