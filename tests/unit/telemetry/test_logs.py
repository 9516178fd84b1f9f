"""Logs as JSON: what a line says, told apart, and in which request it was written."""

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

SAID = logging.getLogger("carillon")


class Kept(logging.Handler):
    """Formats each record as the project does, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(Structured())
        self.setFormatter(JsonFormatter("%(levelname)s %(name)s %(message)s"))
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.fixture
def kept() -> Any:
    handler = Kept()
    root = logging.getLogger()
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)


def test_a_line_of_ours_says_its_event_and_its_fields(kept: Kept) -> None:
    SAID.warning("stream.closed reason=%s topics=%d", "kicked", 2)
    SAID.warning("drain.started streams=%d seconds=%g: %s of it", 7, 2.5, "more")
    SAID.warning("log.away error=%r", ValueError("x"))
    closed, drained, away = kept.lines
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


def test_other_lines_are_left_as_they_are(kept: Kept) -> None:
    SAID.warning("Something in words, 100%")
    logging.getLogger("elsewhere").warning("a.b c=%s", 1)
    words, other = kept.lines
    assert (words["event"], words["fields"]) == (None, {})
    assert "event" not in other
    assert other["request_id"] is None


def test_an_audit_keeps_the_fields_it_has(kept: Kept) -> None:
    audit.tell(logging.WARNING, "publish.accepted", by="key:x", topics=["a", "b"])
    (line,) = kept.lines
    assert line["event"] == "publish.accepted"
    assert line["fields"] == {"by": "key:x", "topics": ["a", "b"]}


@pytest.mark.usefixtures("own_log", "runtime_ends")
async def test_a_line_names_the_request_in_which_it_was_written(
    kept: Kept, async_client: AsyncClient
) -> None:
    headers = {"Authorization": f"Bearer {PUBLISH_KEY}", "X-Request-ID": "of-the-proxy"}
    assert (await post(async_client, {"topic": "demo.x", "data": 1}, headers=headers)).status == 201
    (accepted,) = [line for line in kept.lines if line.get("event") == "publish.accepted"]
    assert accepted["request_id"] == "of-the-proxy"
    SAID.warning("stream.closed reason=%s", "x")
    assert kept.lines[-1]["request_id"] is None


def test_the_project_logs_json_where_it_is_told_to(tmp_path: Any) -> None:
    say = (
        "import django, logging; django.setup();"
        "logging.getLogger('carillon').info('stream.closed reason=%s', 'x');"
        "logging.getLogger('django.request').error('no', extra={'request': 'GET /?link=secret'})"
    )
    given = environment("redis://127.0.0.1:1/0", tmp_path, {"LOG_FORMAT": "json"})
    done = subprocess.run(
        [sys.executable, "-c", say], env=given, cwd=ROOT, capture_output=True, check=True, text=True
    )
    ours, djangos = [json.loads(line) for line in done.stderr.splitlines()]
    assert (ours["level"], ours["logger"], ours["event"]) == ("INFO", "carillon", "stream.closed")
    assert ours["time"].startswith("20")
    assert djangos["message"] == "no"
    assert "secret" not in done.stderr
