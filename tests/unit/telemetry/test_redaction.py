"""Log lines about requests contain everything but the secrets of these requests."""

import logging
import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from notifications.telemetry import redaction
from notifications.telemetry.logs import logger as events
from notifications.telemetry.redaction import ACCESS_LOGGERS, install, redacted

KEY = "crl_abcdefgh_" + "a" * 43
no_deadline = hypothesis_settings(deadline=None)  # the machine may be busy
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("link=abc:def", "link=…"),
        ("/events/?topic=a&link=abc:def&since=10m", "/events/?topic=a&link=…&since=10m"),
        ("http://host/events/?token=abc#there", "http://host/events/?token=…#there"),
        ("access_token=abc;key=def", "access_token=…;key=…"),
        ("LINK=abc&%6cink=abc&l%69nk=abc", "LINK=…&%6cink=…&l%69nk=…"),
        ("link=&topic=link", "link=&topic=link"),
        ("/events/?topic=blink=1", "/events/?topic=blink=1"),
        ('"GET /events/?link=abc HTTP/1.1" 200', '"GET /events/?link=… HTTP/1.1" 200'),
        (f"Authorization: Bearer {KEY}", "Authorization: Bearer …"),
        ("authorization: basic YTpi", "authorization: basic …"),
        (f"the key {KEY} is", "the key crl_abcdefgh_… is"),
        (f"the token {TOKEN}, and", "the token eyJ…, and"),
        (f"/events/{TOKEN}", "/events/eyJ…"),
        ("crl_abcdefgh_… eyJ…", "crl_abcdefgh_… eyJ…"),
        ("/events/?topic=orders.42&last_event_id=1.abc.1-0", None),
        ("subscribe.closed topics=3 reason=stopping", None),
        ("", None),
    ],
)
def test_secrets_are_replaced_and_the_rest_stays(text: str, expected: str | None) -> None:
    assert redacted(text) == (text if expected is None else expected)


@no_deadline
@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@no_deadline
@given(st.text(alphabet="abc%&;=?# :./-_é\"'"), st.sampled_from(["link", "token", "key"]))
def test_no_secret_survives_in_any_context(context: str, name: str) -> None:
    assert "53cr3t" not in redacted(f"{context}&{name}=53cr3t&{context}")


@pytest.mark.parametrize(
    "piece", ["eyJ", "-eyJ", "eyJa.", "=a", "?", "a", "Bearer ", "crl_aaaaaaaa_"]
)
def test_a_long_line_takes_no_longer_than_its_length(piece: str) -> None:
    started = time.thread_time()
    redacted(piece * (100_000 // len(piece)))
    assert time.thread_time() - started < 2


# In the log


@pytest.mark.parametrize("name", ACCESS_LOGGERS)
def test_every_access_log_is_without_secrets(name: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(name)
    before, logger.propagate = logger.propagate, True
    try:
        with caplog.at_level(logging.INFO, logger=name):
            # The formats of uvicorn, runserver and Daphne, and one that nobody should use.
            logger.info('%s - "%s %s HTTP/%s" %d', "::1", "GET", "/e?link=53cr3t", "1.1", 200)
            logger.info('"%s" %s', "GET /e?topic=a&token=53cr3t HTTP/1.1", 200)
            logger.info("HTTP %(method)s %(path)s", {"method": "GET", "path": "/e?key=53cr3t"})
            logger.info(f"/e?link=53cr3t {KEY}")  # noqa: G004
            logger.info("/e?link=%s", "53cr3t")
    finally:
        logger.propagate = before
    assert len(caplog.messages) == 5
    assert "53cr3t" not in caplog.text
    assert KEY not in caplog.text
    assert "/e?link=…" in caplog.messages[0]


def test_a_record_that_cannot_be_formatted_is_left_to_logging(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(caplog.handler, "emit", lambda record: None)
    with caplog.at_level(logging.INFO, logger="carillon"):
        logging.getLogger("carillon").info("%s %s", "one")
        logging.getLogger("carillon").info("%(a)s", {"b": 1})


def test_installing_the_filter_again_changes_nothing() -> None:
    before = {name: list(logging.getLogger(name).filters) for name in ACCESS_LOGGERS}
    install()
    assert {name: logging.getLogger(name).filters for name in ACCESS_LOGGERS} == before


def test_the_fields_of_our_own_lines_are_searched_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []

    def counted(text: str) -> str:
        searched.append(text)
        return redacted(text)

    monkeypatch.setattr(redaction, "redacted", counted)
    with caplog.at_level(logging.INFO, logger="carillon"):
        events.info("a.b", by=f"Bearer {KEY}", topics=["x"], count=2)
        assert searched == []
        assert KEY not in caplog.text
        # A hint and another's line have not been searched before.
        events.info("a.b", hint="about it", by="x")
        logging.getLogger("carillon").info("by=%s", "x")
    assert len(searched) == 4
