"""`GET /events/history.…`: the retained log as a file, for who may hear it."""

import csv
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import AsyncClient, Client
from pytest_django import Settings as DjangoSettings

from notifications import Event, apublish, apublish_many, kick
from notifications.access import Access
from notifications.access.identities.base import User as AnyUser
from notifications.hub import runtime
from notifications.log.cursors import Cursor, position
from notifications.views.history.formats import COLUMNS
from tests.harness.django_client import answer
from tests.unit.management.test_commands import carillon

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

FORMS = ["csv", "ndjson", "json"]


class Late(Access):
    """Of `late.…` everybody has what came after `begin`, and of `gone.…` nobody has anything."""

    begin = datetime(2000, 1, 1, tzinfo=UTC)

    def can_subscribe(self, user: AnyUser, topic: str) -> bool:
        return topic.startswith(("late", "early"))

    def history_since(self, user: AnyUser, topic: str) -> datetime | None:
        return self.begin if topic.startswith("late") else None


async def history(
    client: AsyncClient, form: str, query: str, **headers: str
) -> list[dict[str, Any]]:
    """The rows, as whoever reads the file has them."""
    response: Any = await client.get(f"/events/history.{form}?{query}", headers=headers)
    assert response.status_code == 200, await text_of(response)
    text = await text_of(response)
    if form == "csv":
        return list(csv.DictReader(StringIO(text, newline="")))
    if form == "ndjson":
        return [json.loads(line) for line in text.splitlines()]
    events: list[dict[str, Any]] = json.loads(text)["events"]
    return events


async def text_of(response: Any) -> str:
    if not response.streaming:
        return str(response.content.decode())
    return b"".join([chunk async for chunk in response]).decode()


def data_of(rows: list[dict[str, Any]]) -> list[Any]:
    return [row["data"] for row in rows]


@pytest.mark.parametrize("form", FORMS)
async def test_every_event_of_the_topics_is_there_in_order_and_no_other(
    async_client: AsyncClient, form: str
) -> None:
    for i in range(30):
        await apublish(["demo.a", "demo.b", "demo.c"][i % 3], f"event {i}")
    await apublish(["demo.a", "demo.b"], "of two")
    rows = await history(async_client, form, "topic=demo.a&topic=demo.b")
    assert data_of(rows) == [f"event {i}" for i in range(30) if i % 3 != 2] + ["of two"]
    assert [Cursor.parse(row["cursor"]) for row in rows]
    assert datetime.fromisoformat(rows[0]["time"]).tzinfo is not None
    assert set(rows[0]) == set(COLUMNS)


@pytest.mark.parametrize("form", FORMS)
async def test_what_is_said_of_an_event_is_what_a_stream_says(
    async_client: AsyncClient, form: str
) -> None:
    event = await apublish(["demo.a", "demo.b", "x"], {"n": 1}, type="note", id="mine")
    (row,) = await history(async_client, form, "topic=demo.a&topic=demo.b")
    assert (row["cursor"], row["id"], row["type"]) == (event.cursor, "mine", "note")
    as_text = form == "csv"
    assert row["topics"] == ("demo.a\ndemo.b" if as_text else ["demo.a", "demo.b"])
    assert row["data"] == ('{"n":1}' if as_text else {"n": 1})


@pytest.mark.parametrize("form", FORMS)
async def test_a_log_with_nothing_in_it_is_an_empty_file(
    async_client: AsyncClient, form: str
) -> None:
    assert await history(async_client, form, "topic=demo.a") == []


@pytest.mark.parametrize("form", FORMS)
async def test_orders_are_never_shown(async_client: AsyncClient, form: str) -> None:
    await apublish("demo.a", 1)
    kick(topic="demo.a")
    await apublish("demo.a", 2)
    assert [str(data) for data in data_of(await history(async_client, form, "topic=demo.a"))] == [
        "1",
        "2",
    ]


@pytest.mark.parametrize(
    ("data", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("＝1+1", "'＝1+1"),
        ('a",=1', 'a",=1'),
        ("-5", "-5"),
        ("+4.5e3", "+4.5e3"),
        ("", ""),
        ("häß\nlich", "häß\nlich"),
    ],
)
async def test_a_spreadsheet_runs_nothing_of_it(
    async_client: AsyncClient, data: str, cell: str
) -> None:
    await apublish("demo.a", data, type=f"t{data}" if data.isprintable() else None)
    (row,) = await history(async_client, "csv", "topic=demo.a")
    assert row["data"] == cell


async def test_no_cell_that_somebody_else_writes_can_be_a_formula(
    async_client: AsyncClient,
) -> None:
    await apublish("demo.a", -5, type="=t()", id="@id")
    (row,) = await history(async_client, "csv", "topic=demo.a")
    assert (row["type"], row["id"], row["data"]) == ("'=t()", "'@id", "-5")


# Where it begins


@pytest.mark.parametrize("form", FORMS)
async def test_since_is_what_it_is_for_a_stream(async_client: AsyncClient, form: str) -> None:
    first = await apublish("demo.a", "first")
    await apublish("demo.a", "second")
    topic = "topic=demo.a"
    assert len(await history(async_client, form, f"{topic}&since=all")) == 2
    assert len(await history(async_client, form, f"{topic}&since=10m")) == 2
    assert data_of(await history(async_client, form, f"{topic}&since={first.cursor}")) == ["second"]
    resumed = await history(async_client, form, topic, **{"Last-Event-ID": first.cursor or ""})
    assert data_of(resumed) == ["second"]
    later = quote((datetime.now(UTC) + timedelta(days=1)).isoformat())
    assert await history(async_client, form, f"{topic}&since={later}") == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("no cursor", "unknown"),
        (str(Cursor("0123456789ab", position(5))), "log_lost"),
    ],
)
async def test_a_cursor_that_says_nothing_is_told_of_and_all_is_there(
    async_client: AsyncClient, form: str, cursor: str, reason: str
) -> None:
    await apublish("demo.a", "x")
    reset, row = await history(async_client, form, f"topic=demo.a&last_event_id={quote(cursor)}")
    assert reset["type"] == "stream.reset"
    said = reset["data"]
    assert (json.loads(said) if form == "csv" else said) == {"reason": reason}
    assert row["data"] == "x"


async def test_a_cursor_ahead_of_the_log_is_told_of(async_client: AsyncClient) -> None:
    event = await apublish("demo.a", "x")
    ahead = Cursor(Cursor.parse(event.cursor or "").epoch, position(1 << 45))
    reset, row = await history(async_client, "ndjson", f"topic=demo.a&since={ahead}")
    assert (reset["type"], reset["data"]) == ("stream.reset", {"reason": "unknown"})
    assert row["data"] == "x"


async def test_what_was_trimmed_before_a_cursor_is_told_of(
    async_client: AsyncClient, settings: DjangoSettings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "HISTORY_EVENTS": 3}
    first = await apublish("demo.a", "first")
    await history(async_client, "csv", "topic=demo.a")  # this process knows it now
    await apublish_many(Event(topics="demo.a", data=str(i)) for i in range(20_000))
    async with runtime_caught_up(async_client):
        rows = await history(async_client, "ndjson", f"topic=demo.a&since={first.cursor}")
    assert (rows[0]["type"], rows[0]["data"]) == ("stream.reset", {"reason": "trimmed"})
    assert data_of(rows[1:])[-1] == "19999"
    assert len(rows) == 4


def runtime_caught_up(client: AsyncClient) -> Any:
    """Waits until this process has read what was published."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def wait() -> AsyncIterator[None]:
        import asyncio

        here = runtime.start()
        async with asyncio.timeout(10):
            while here.hub.head != await here.log.state():  # noqa: ASYNC110 - nobody is told
                await asyncio.sleep(0)
        yield

    return wait()


# Who may have it


@pytest.mark.parametrize("form", FORMS)
async def test_who_may_hear_nothing_is_refused(async_client: AsyncClient, form: str) -> None:
    response = await async_client.get(f"/events/history.{form}?topic=secret")
    assert answer(response).is_problem(403, "forbidden")


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_who_may_hear_some_is_told_which_not(async_client: AsyncClient, form: str) -> None:
    await apublish("secret", "not theirs")
    await apublish("demo.a", "theirs")
    response: Any = await async_client.get(
        f"/events/history.{form}?topic=demo.a&topic=secret&topic=geh%2Ceim"
    )
    assert response.headers["Carillon-Denied"] == "secret,geh%2Ceim"
    text = await text_of(response)
    assert "not theirs" not in text
    rows = await history(async_client, form, "topic=demo.a&topic=secret&topic=geh%2Ceim")
    assert [row["type"] or "" for row in rows] == ["stream.denied", ""]


async def test_a_page_says_what_was_denied(async_client: AsyncClient) -> None:
    await apublish(["demo.a", "secret"], "of both")
    response = await async_client.get("/events/history.json?topic=demo.a&topic=secret")
    body = response.json()
    assert body["denied"] == ["secret"]
    assert [event["topics"] for event in body["events"]] == [["demo.a"]]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("form", FORMS)
async def test_history_begins_event_by_event_where_the_rules_say(
    async_client: AsyncClient,
    settings: DjangoSettings,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    settings.CARILLON = {**settings.CARILLON, "ACCESS": f"{__name__}.Late"}
    monkeypatch.setattr(Late, "begin", datetime.now(UTC) + timedelta(hours=1))
    await async_client.aforce_login(await User.objects.acreate_user("ada"))
    await apublish("late.a", "too early")
    await apublish(["late.a", "early"], "by another topic")
    rows = await history(async_client, form, "topic=late.a&topic=early")
    assert data_of(rows) == ["by another topic"]
    assert await history(async_client, form, "topic=late.a") == []


async def test_an_unknown_user_is_nobody(async_client: AsyncClient) -> None:
    assert AnonymousUser().is_anonymous
    response = await async_client.get("/events/history.csv")
    assert answer(response).is_problem(400, "bad-request")


# The answer


async def test_a_file_has_a_name_that_any_system_takes(async_client: AsyncClient) -> None:
    topic = quote('demo."a/b\\ü', safe="")
    response: Any = await async_client.head(f"/events/history.csv?topic={topic}&topic=demo.b")
    disposition = response.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename")
    assert "/" not in disposition.removeprefix("attachment")
    assert "demo._a_b_" in disposition
    assert "-and-1-more-" in disposition
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.content == b""


async def test_it_says_how_many_there_are_about(async_client: AsyncClient) -> None:
    await apublish_many(Event(topics=["demo.a", "demo.b"][: i % 2 + 1], data=i) for i in range(10))
    response = await async_client.head("/events/history.ndjson?topic=demo.a")
    assert response.headers["Carillon-Rows"] == "10"
    response = await async_client.head("/events/history.ndjson?topic=demo.b")
    assert response.headers["Carillon-Rows"] == "5"


async def test_other_origins_read_it_where_they_may(
    async_client: AsyncClient, settings: DjangoSettings
) -> None:
    origin = "https://pages.example"
    settings.CARILLON = {**settings.CARILLON, "CORS_ALLOWED_ORIGINS": [origin]}
    target = "/events/history.csv?topic=demo.a"
    response = await async_client.head(target, headers={"Origin": origin})
    assert response.headers["Access-Control-Allow-Origin"] == origin
    preflight = await async_client.options(target, headers={"Origin": origin})
    assert preflight.status_code == 204


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("csv?topic=demo.a&since=yesterday", 400, "bad-request"),
        ("csv", 400, "bad-request"),
        ("json?topic=demo.a&limit=0", 400, "bad-request"),
        ("json?topic=demo.a&limit=1001", 400, "bad-request"),
        ("json?topic=demo.a&limit=ten", 400, "bad-request"),
        ("json?topic=demo.a&limit=²", 400, "bad-request"),
        (f"csv?topic=demo.{'a' * 9000}", 414, "uri-too-long"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(
    async_client: AsyncClient, target: str, status: int, code: str
) -> None:
    response = await async_client.get(f"/events/history.{target}")
    assert answer(response).is_problem(status, code)


async def test_only_reading_is_served(async_client: AsyncClient) -> None:
    response = await async_client.post("/events/history.csv?topic=demo.a")
    assert answer(response).is_problem(405, "method-not-allowed")


def test_under_wsgi_it_says_what_it_needs() -> None:
    response = Client().get("/events/history.csv?topic=demo.a")
    assert answer(response).is_problem(501, "needs-asgi")


# By pages


async def test_pages_lead_to_each_other_and_end(async_client: AsyncClient) -> None:
    for i in range(25):
        await apublish("demo.a", i)
        await apublish("demo.noise", i)
    found, sizes = [], []
    target: str | None = "/events/history.json?topic=demo.a&limit=10&since=all"
    while target:
        response = await async_client.get(target)
        body = response.json()
        found += data_of(body["events"])
        sizes.append(len(body["events"]))
        target = body["next"]
        assert ("Link" in response.headers) == bool(target)
        if target:
            assert response.headers["Link"] == f'<{target}>; rel="next"'
    assert found == list(range(25))
    assert sizes == [10, 10, 5]
    # Whoever comes back with the last cursor has what came meanwhile.
    await apublish("demo.a", "new")
    rows = await history(async_client, "json", f"topic=demo.a&since={body['cursor']}")
    assert data_of(rows) == ["new"]


async def test_a_page_that_was_just_filled_may_be_the_last(async_client: AsyncClient) -> None:
    await apublish_many(Event(topics="demo.a", data=i) for i in range(4))
    first = (await async_client.get("/events/history.json?topic=demo.a&limit=4")).json()
    assert data_of(first["events"]) == [0, 1, 2, 3]
    assert first["next"]
    second = (await async_client.get(first["next"])).json()
    assert (second["events"], second["next"]) == ([], None)


def test_the_shell_and_the_file_agree() -> None:
    cursor = carillon("publish", "demo.a", "Hello!")
    assert Cursor.parse(cursor)
