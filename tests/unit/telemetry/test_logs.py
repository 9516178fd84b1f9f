"""The form of a log line, in any site's logs: as text, as JSON, and with a request's id."""

import io
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient
from pythonjsonlogger.json import JsonFormatter

from notifications.hub.subscribers import CloseReason
from notifications.telemetry.audit import logger as audit_logger
from notifications.telemetry.logs import Structured, logger
from tests.harness.django_client import post
from tests.harness.servers import PUBLISH_KEY, ROOT, START_DEADLINE_SECONDS, environment
from tests.harness.warm import run_python


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


def test_a_line_has_its_event_and_its_fields_as_text_and_as_attributes(
    json_log: JsonHandler,
) -> None:
    logger.warning("stream.closed", reason=CloseReason.KICKED, topics=2)
    logger.warning("drain.started", streams=7, seconds=2.50, hint="100% of them")
    logger.warning("log.away", error=ValueError('no "x"\nhere'), path=Path("/a/b"), none=None)
    logger.warning("log.back", hint="100% again")
    closed, drained, away, back = json_log.lines
    assert closed["message"] == "stream.closed reason=kicked topics=2"
    assert closed["event"] == "stream.closed"
    assert closed["fields"] == {"reason": "kicked", "topics": 2}
    assert drained["message"] == "drain.started streams=7 seconds=2.5: 100% of them"
    assert drained["fields"] == {"streams": 7, "seconds": 2.5}
    assert away["message"] == r'log.away error="no \"x\"\nhere" path=/a/b'
    assert away["fields"] == {"error": 'no "x"\nhere', "path": "/a/b"}
    assert (back["message"], back["fields"]) == ("log.back: 100% again", {})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", '""'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ('"', r'"\""'),
        ("user:7", "user:7"),
        (0.1 + 0.2, "0.3"),
        (2.0, "2"),
        (True, "True"),
        ((), ""),
        (["a", "b c", "d,e"], 'a,"b c","d,e"'),
        ({"one": 1}, "one"),
        (b"bytes", "\"b'bytes'\""),
    ],
)
def test_a_value_that_could_be_mistaken_is_quoted(
    value: object, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    logger.warning("a.b", value=value, after=1)
    assert caplog.messages == [f"a.b value={text} after=1"]


def test_the_template_of_an_event_is_always_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """Services that collect errors make one issue of all records with the same template."""
    for number in range(2):
        logger.warning("a.b", number=number, hint="do this")
    assert len({record.msg for record in caplog.records}) == 1
    assert len({record.getMessage() for record in caplog.records}) == 2


def test_a_record_names_the_line_that_logged(caplog: pytest.LogCaptureFixture) -> None:
    try:
        int("x")
    except ValueError:
        logger.exception("a.b", number=1)
    logger.log(logging.WARNING, "a.c")
    audit_logger.warning("a.d")
    assert {record.pathname for record in caplog.records} == {__file__}
    assert {record.funcName for record in caplog.records} == {
        "test_a_record_names_the_line_that_logged"
    }
    assert "ValueError: invalid literal" in caplog.text


def test_no_field_has_a_secret_in_text_or_json(json_log: JsonHandler) -> None:
    key = "crl_abcdefgh_" + "5ecr3t" * 8
    logger.warning("a.b", token="5ecr3t", error=ValueError(f"with {key}"), topics=[key])
    logger.warning("a.b", error="redis://user:x@host/?password=5ecr3t")
    assert "5ecr3t" not in json.dumps(json_log.lines)


def test_what_is_not_logged_is_not_rendered(caplog: pytest.LogCaptureFixture) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise AssertionError

    with caplog.at_level(logging.ERROR, "carillon"):
        logger.warning("a.b", value=Unprintable())
    assert caplog.records == []


PLAIN_SITE = """
import django, logging
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "notifications"],
    SECRET_KEY="x",
    **{settings},
)
django.setup()
from notifications.telemetry.logs import logger
logger.warning("log.away", error="Connection refused")
try:
    raise ValueError("reason")
except ValueError:
    logger.exception("tail.failed", worker=3)
"""


@pytest.mark.parametrize(
    "settings",
    [
        "{}",
        "{'LOGGING_CONFIG': None}",
        """{'LOGGING': {
            'version': 1,
            'handlers': {'err': {'class': 'logging.StreamHandler'}},
            'root': {'handlers': ['err']},
        }}""",
    ],
    ids=["Django's own", "none", "a handler without a formatter"],
)
def test_the_fields_are_in_the_lines_of_a_site_that_knows_nothing_of_them(settings: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PLAIN_SITE.replace("{settings}", settings)],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    assert 'log.away error="Connection refused"\n' in result.stderr
    assert "tail.failed worker=3\nTraceback" in result.stderr


def test_json_needs_nothing_of_ours_for_the_event_and_the_fields() -> None:
    formatter = JsonFormatter("%(message)s")
    handler = logging.StreamHandler(output := io.StringIO())
    handler.setFormatter(formatter)
    logger.logger.addHandler(handler)
    try:
        logger.warning("log.gap", reason="log_lost")
    finally:
        logger.logger.removeHandler(handler)
    assert json.loads(output.getvalue()) == {
        "message": "log.gap reason=log_lost",
        "event": "log.gap",
        "fields": {"reason": "log_lost"},
    }


def test_lines_of_other_libraries_get_only_a_request_id(json_log: JsonHandler) -> None:
    logging.getLogger("elsewhere").warning("a.b c=%s", 1)
    [other] = json_log.lines
    assert "event" not in other
    assert other["request_id"] is None


def test_the_audit_has_the_same_form(json_log: JsonHandler) -> None:
    audit_logger.warning("publish.accepted", by="key:x", topics=["a", "b"])
    (line,) = json_log.lines
    assert line["message"] == "publish.accepted by=key:x topics=a,b"
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
    logger.warning("stream.closed", reason="x")
    assert json_log.lines[-1]["request_id"] is None


def test_the_project_logs_json_with_the_setting_log_format(tmp_path: Any) -> None:
    program = (
        "import django, logging; django.setup();"
        "from notifications.telemetry.logs import logger;"
        "logger.info('stream.closed', reason='x');"
        "logging.getLogger('django.request').error('no', extra={'request': 'GET /?link=secret'})"
    )
    variables = environment("redis://127.0.0.1:1/0", tmp_path, {"LOG_FORMAT": "json"})
    result = run_python("-c", program, env=variables, timeout=START_DEADLINE_SECONDS)
    assert result.returncode == 0, result.stderr
    ours, djangos = [json.loads(line) for line in result.stderr.splitlines()]
    assert (ours["level"], ours["logger"], ours["event"]) == ("INFO", "carillon", "stream.closed")
    assert ours["time"].startswith("20")
    assert djangos["message"] == "no"
    assert "secret" not in result.stderr
