"""The audit logs a line for each publication and each denial; requests keep their ids."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.test import AsyncClient
from pytest_django import Settings as DjangoSettings

from notifications.telemetry.audit import logger
from tests.harness.django_client import AUTHORIZED, post, subscribed

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

REQUEST = {"X-Request-ID": "from-the-proxy.7"}
WRONG_KEY = "crl_abcdefgh_" + "a" * 43

type Lines = Callable[[], list[str]]


@pytest.fixture
def audited(caplog: pytest.LogCaptureFixture) -> Lines:
    caplog.set_level(logging.DEBUG, "carillon.audit")
    return lambda: [
        record.getMessage() for record in caplog.records if record.name == "carillon.audit"
    ]


def without_key(line: str) -> str:
    return " ".join(part for part in line.split() if not part.startswith("by="))


async def test_a_publication_is_logged_without_its_data(
    async_client: AsyncClient, audited: Lines
) -> None:
    body = [
        {"topic": ["orders.1", "orders.2"], "data": "5ecret", "idempotency_key": "a"},
        {"topic": "orders.1", "data": "5ecret", "idempotency_key": "a2"},
    ]
    for _ in range(2):
        await post(async_client, body, headers={**AUTHORIZED, **REQUEST})
    first, second = audited()
    end = "topics=orders.1,orders.2 request=from-the-proxy.7"
    assert without_key(first) == f"publish.accepted events=2 duplicates=0 {end}"
    assert without_key(second) == f"publish.accepted events=2 duplicates=2 {end}"
    assert " by=key:" in first
    assert AUTHORIZED["Authorization"].split()[1] not in first
    assert "5ecret" not in first


@pytest.mark.django_db
async def test_a_denied_publisher_is_logged_as_far_as_it_is_known(
    async_client: AsyncClient, audited: Lines
) -> None:
    event = {"topic": "orders.1", "data": "x"}
    await post(async_client, event, headers=REQUEST)
    await post(async_client, event, headers={"Authorization": f"Bearer {WRONG_KEY}"})
    nobody, wrong = audited()
    assert nobody.startswith("publish.denied by=unknown reason=unauthenticated detail=")
    assert nobody.endswith("request=from-the-proxy.7")
    assert wrong.startswith("publish.denied by=unknown reason=unauthenticated")
    assert WRONG_KEY not in wrong


async def test_a_denied_subscriber_is_logged(async_client: AsyncClient, audited: Lines) -> None:
    response = await async_client.get("/events/?topic=private", headers=REQUEST)
    assert response.status_code == 403
    [line] = audited()
    assert line.startswith("subscribe.denied by=anonymous reason=forbidden detail=")
    assert line.endswith(" topics=private request=from-the-proxy.7")


async def test_an_accepted_subscriber_is_logged_at_debug_level(
    async_client: AsyncClient, audited: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    async with subscribed(async_client, "demo.a", headers=REQUEST):
        pass
    async with subscribed(async_client, "demo.a", "private", headers=REQUEST):
        pass
    end = "topics=demo.a request=from-the-proxy.7"
    assert audited() == [
        f"subscribe.accepted by=anonymous denied= {end}",
        f"subscribe.accepted by=anonymous denied=private {end}",
    ]
    levels = {record.levelno for record in caplog.records if record.name == "carillon.audit"}
    assert levels == {logging.DEBUG}


async def test_a_request_that_cannot_be_understood_is_not_in_the_audit(
    async_client: AsyncClient, audited: Lines
) -> None:
    await async_client.get("/events/")
    await post(async_client, {"topic": "", "data": "x"})
    assert audited() == []


def test_no_name_can_be_mistaken_for_another_field_or_line(audited: Lines) -> None:
    evil = 'a b=c "d"\u2028e,f'
    logger.info("x", by=evil, topics=[evil, "plain", "ü"])
    [line] = audited()
    quoted = json.dumps(evil)
    assert line == f'x by={quoted} topics={quoted},plain,"\\u00fc"'
    assert line.isascii()


def test_of_many_topics_the_line_has_the_first_and_the_record_has_all(
    audited: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    logger.info("x", topics=[str(number) for number in range(15)])
    assert audited() == ["x topics=0,1,2,3,4,5,6,7,8,9,+5"]
    [record] = caplog.records
    fields: Any = vars(record)["fields"]
    assert len(fields["topics"]) == 15
    assert vars(record)["event"] == "x"


def test_no_field_contains_a_secret(audited: Lines, caplog: pytest.LogCaptureFixture) -> None:
    logger.info("x", topics=[WRONG_KEY])
    assert WRONG_KEY not in audited()[0]
    assert WRONG_KEY not in str(vars(caplog.records[0]))


# Request ids


@pytest.mark.parametrize("sent", ["abc", "Root=1-67891233-abcdef", "a" * 64, "x/y+z=="])
async def test_a_request_keeps_the_id_that_it_came_with(
    async_client: AsyncClient, sent: str
) -> None:
    for path in ("/events/?topic=demo.a", "/events/", "/publish/", "/health/live", "/openapi.json"):
        response = await async_client.get(path, headers={"X-Request-ID": sent})
        assert response.headers["X-Request-ID"] == sent, path


@pytest.mark.parametrize("sent", ["", "a" * 65, "a b", 'a"b', "ü", "a\x00b", "a\tb", "{a}"])
async def test_an_id_that_is_not_safe_in_a_log_is_replaced(
    async_client: AsyncClient, sent: str
) -> None:
    response = await async_client.get("/health/live", headers={"X-Request-ID": sent})
    generated = response.headers["X-Request-ID"]
    assert generated != sent
    assert len(generated) == 16
    other = await async_client.get("/health/live")
    assert other.headers["X-Request-ID"] != generated


async def test_a_problem_names_its_request(
    async_client: AsyncClient, settings: DjangoSettings
) -> None:
    settings.DEBUG = False
    for path in ("/events/", "/publish/", "/nowhere"):
        response = await async_client.get(path, headers=REQUEST)
        assert json.loads(response.content)["request"] == REQUEST["X-Request-ID"], path
        assert response.headers["X-Request-ID"] == REQUEST["X-Request-ID"], path
