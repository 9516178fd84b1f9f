"""`GET /events/history.…`: the retained log as files and pages, for users who may subscribe."""

import asyncio
import csv
import json
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
from notifications.log.cursors import Cursor, make_position
from notifications.views.history.formats import COLUMNS
from tests.harness.django_client import answer
from tests.unit.management.test_commands import carillon

pytestmark = pytest.mark.usefixtures("own_log", "runtime_ends")

FORMATS = ["csv", "ndjson", "json"]


class LateHistory(Access):
    """The history of `late.…` begins at `since` for everybody."""

    since = datetime(2000, 1, 1, tzinfo=UTC)

    def can_subscribe(self, user: AnyUser, topic: str) -> bool:
        return topic.startswith(("late", "early"))

    def history_since(self, user: AnyUser, topic: str) -> datetime | None:
        return self.since if topic.startswith("late") else None


async def history(
    client: AsyncClient, format_name: str, query: str, **headers: str
) -> list[dict[str, Any]]:
    """The rows, decoded from the format."""
    response: Any = await client.get(f"/events/history.{format_name}?{query}", headers=headers)
    assert response.status_code == 200, await text_of(response)
    text = await text_of(response)
    if format_name == "csv":
        return list(csv.DictReader(StringIO(text, newline="")))
    if format_name == "ndjson":
        return [json.loads(line) for line in text.splitlines()]
    events: list[dict[str, Any]] = json.loads(text)["events"]
    return events


async def text_of(response: Any) -> str:
    if not response.streaming:
        return str(response.content.decode())
    return b"".join([chunk async for chunk in response]).decode()


def data_of(rows: list[dict[str, Any]]) -> list[Any]:
    return [row["data"] for row in rows]


@pytest.mark.parametrize("format_name", FORMATS)
async def test_every_event_of_the_topics_is_there_in_order_and_no_other(
    async_client: AsyncClient, format_name: str
) -> None:
    for i in range(30):
        await apublish(["demo.a", "demo.b", "demo.c"][i % 3], f"event {i}")
    await apublish(["demo.a", "demo.b"], "of two")
    rows = await history(async_client, format_name, "topic=demo.a&topic=demo.b")
    assert data_of(rows) == [f"event {i}" for i in range(30) if i % 3 != 2] + ["of two"]
    assert [Cursor.parse(row["cursor"]) for row in rows]
    assert datetime.fromisoformat(rows[0]["time"]).tzinfo is not None
    assert set(rows[0]) == set(COLUMNS)


@pytest.mark.parametrize("format_name", FORMATS)
async def test_an_event_has_the_same_fields_as_in_a_stream(
    async_client: AsyncClient, format_name: str
) -> None:
    event = await apublish(["demo.a", "demo.b", "x"], {"n": 1}, type="note", id="mine")
    (row,) = await history(async_client, format_name, "topic=demo.a&topic=demo.b")
    assert (row["cursor"], row["id"], row["type"]) == (event.cursor, "mine", "note")
    as_text = format_name == "csv"
    assert row["topics"] == ("demo.a\ndemo.b" if as_text else ["demo.a", "demo.b"])
    assert row["data"] == ('{"n":1}' if as_text else {"n": 1})


@pytest.mark.parametrize("format_name", FORMATS)
async def test_a_log_with_nothing_in_it_is_an_empty_file(
    async_client: AsyncClient, format_name: str
) -> None:
    assert await history(async_client, format_name, "topic=demo.a") == []


@pytest.mark.parametrize("format_name", FORMATS)
async def test_control_entries_are_never_exported(
    async_client: AsyncClient, format_name: str
) -> None:
    await apublish("demo.a", 1)
    kick(topic="demo.a")
    await apublish("demo.a", 2)
    assert [
        str(data) for data in data_of(await history(async_client, format_name, "topic=demo.a"))
    ] == [
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
async def test_a_spreadsheet_runs_no_cell_as_a_formula(
    async_client: AsyncClient, data: str, cell: str
) -> None:
    await apublish("demo.a", data, type=f"t{data}" if data.isprintable() else None)
    (row,) = await history(async_client, "csv", "topic=demo.a")
    assert row["data"] == cell


async def test_no_cell_with_text_of_a_publisher_can_be_a_formula(
    async_client: AsyncClient,
) -> None:
    await apublish("demo.a", -5, type="=t()", id="@id")
    (row,) = await history(async_client, "csv", "topic=demo.a")
    assert (row["type"], row["id"], row["data"]) == ("'=t()", "'@id", "-5")


# The start


@pytest.mark.parametrize("format_name", FORMATS)
async def test_since_has_the_same_meaning_as_for_a_stream(
    async_client: AsyncClient, format_name: str
) -> None:
    first = await apublish("demo.a", "first")
    await apublish("demo.a", "second")
    topic = "topic=demo.a"
    assert len(await history(async_client, format_name, f"{topic}&since=all")) == 2
    assert len(await history(async_client, format_name, f"{topic}&since=10m")) == 2
    assert data_of(await history(async_client, format_name, f"{topic}&since={first.cursor}")) == [
        "second"
    ]
    resumed = await history(
        async_client, format_name, topic, **{"Last-Event-ID": first.cursor or ""}
    )
    assert data_of(resumed) == ["second"]
    later = quote((datetime.now(UTC) + timedelta(days=1)).isoformat())
    assert await history(async_client, format_name, f"{topic}&since={later}") == []


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("no cursor", "unknown"),
        (str(Cursor("0123456789ab", make_position(5))), "log_lost"),
    ],
)
async def test_an_unusable_cursor_gets_a_reset_and_all_events(
    async_client: AsyncClient, format_name: str, cursor: str, reason: str
) -> None:
    await apublish("demo.a", "x")
    reset, row = await history(
        async_client, format_name, f"topic=demo.a&last_event_id={quote(cursor)}"
    )
    assert reset["type"] == "stream.reset"
    data = reset["data"]
    assert (json.loads(data) if format_name == "csv" else data) == {"reason": reason}
    assert row["data"] == "x"


async def test_a_cursor_ahead_of_the_log_gets_a_reset(async_client: AsyncClient) -> None:
    event = await apublish("demo.a", "x")
    ahead = Cursor(Cursor.parse(event.cursor or "").epoch, make_position(1 << 45))
    reset, row = await history(async_client, "ndjson", f"topic=demo.a&since={ahead}")
    assert (reset["type"], reset["data"]) == ("stream.reset", {"reason": "unknown"})
    assert row["data"] == "x"


async def test_a_cursor_before_the_retained_log_gets_a_reset(
    async_client: AsyncClient, settings: DjangoSettings
) -> None:
    settings.CARILLON = {**settings.CARILLON, "HISTORY_EVENTS": 3}
    first = await apublish("demo.a", "first")
    await history(async_client, "csv", "topic=demo.a")  # so that this process has it in its window
    await apublish_many(Event(topics="demo.a", data=str(i)) for i in range(20_000))
    await wait_until_caught_up()
    rows = await history(async_client, "ndjson", f"topic=demo.a&since={first.cursor}")
    assert (rows[0]["type"], rows[0]["data"]) == ("stream.reset", {"reason": "trimmed"})
    assert data_of(rows[1:])[-1] == "19999"
    assert len(rows) == 4


async def wait_until_caught_up() -> None:
    """Wait until the window of this process has all that was published."""
    running = runtime.start()
    async with asyncio.timeout(30):
        while running.hub.head != await running.log.state():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0)


# Permissions


@pytest.mark.parametrize("format_name", FORMATS)
async def test_a_client_without_an_allowed_topic_is_refused(
    async_client: AsyncClient, format_name: str
) -> None:
    response = await async_client.get(f"/events/history.{format_name}?topic=secret")
    assert answer(response).is_problem(403, "forbidden")


@pytest.mark.parametrize("format_name", ["csv", "ndjson"])
async def test_a_client_with_some_allowed_topics_gets_a_list_of_the_others(
    async_client: AsyncClient, format_name: str
) -> None:
    await apublish("secret", "not theirs")
    await apublish("demo.a", "theirs")
    response: Any = await async_client.get(
        f"/events/history.{format_name}?topic=demo.a&topic=secret&topic=geh%2Ceim"
    )
    assert response.headers["Carillon-Denied"] == "secret,geh%2Ceim"
    text = await text_of(response)
    assert "not theirs" not in text
    rows = await history(async_client, format_name, "topic=demo.a&topic=secret&topic=geh%2Ceim")
    assert [row["type"] or "" for row in rows] == ["stream.denied", ""]


async def test_a_page_lists_the_denied_topics(async_client: AsyncClient) -> None:
    await apublish(["demo.a", "secret"], "of both")
    response = await async_client.get("/events/history.json?topic=demo.a&topic=secret")
    body = response.json()
    assert body["denied"] == ["secret"]
    assert [event["topics"] for event in body["events"]] == [["demo.a"]]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("format_name", FORMATS)
async def test_history_begins_for_each_topic_as_the_access_rules_define(
    async_client: AsyncClient,
    settings: DjangoSettings,
    monkeypatch: pytest.MonkeyPatch,
    format_name: str,
) -> None:
    settings.CARILLON = {**settings.CARILLON, "ACCESS": f"{__name__}.LateHistory"}
    monkeypatch.setattr(LateHistory, "since", datetime.now(UTC) + timedelta(hours=1))
    await async_client.aforce_login(await User.objects.acreate_user("ada"))
    await apublish("late.a", "too early")
    await apublish(["late.a", "early"], "by another topic")
    rows = await history(async_client, format_name, "topic=late.a&topic=early")
    assert data_of(rows) == ["by another topic"]
    assert await history(async_client, format_name, "topic=late.a") == []


async def test_an_anonymous_user_has_no_topic_of_their_own(async_client: AsyncClient) -> None:
    assert AnonymousUser().is_anonymous
    response = await async_client.get("/events/history.csv")
    assert answer(response).is_problem(400, "bad-request")


# The response


async def test_a_file_has_a_name_that_is_valid_on_any_system(async_client: AsyncClient) -> None:
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


async def test_the_number_of_events_is_estimated(async_client: AsyncClient) -> None:
    await apublish_many(Event(topics=["demo.a", "demo.b"][: i % 2 + 1], data=i) for i in range(10))
    response = await async_client.head("/events/history.ndjson?topic=demo.a")
    assert response.headers["Carillon-Rows"] == "10"
    response = await async_client.head("/events/history.ndjson?topic=demo.b")
    assert response.headers["Carillon-Rows"] == "5"


async def test_allowed_origins_may_read_history(
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
async def test_an_invalid_request_gets_a_problem(
    async_client: AsyncClient, target: str, status: int, code: str
) -> None:
    response = await async_client.get(f"/events/history.{target}")
    assert answer(response).is_problem(status, code)


async def test_other_methods_are_refused(async_client: AsyncClient) -> None:
    response = await async_client.post("/events/history.csv?topic=demo.a")
    assert answer(response).is_problem(405, "method-not-allowed")


def test_under_wsgi_the_problem_names_asgi() -> None:
    response = Client().get("/events/history.csv?topic=demo.a")
    assert answer(response).is_problem(501, "needs-asgi")


# Pages


async def test_pages_link_to_the_next_page_until_the_last(async_client: AsyncClient) -> None:
    for i in range(25):
        await apublish("demo.a", i)
        await apublish("demo.noise", i)
    data, sizes = [], []
    target: str | None = "/events/history.json?topic=demo.a&limit=10&since=all"
    while target:
        response = await async_client.get(target)
        body = response.json()
        data += data_of(body["events"])
        sizes.append(len(body["events"]))
        target = body["next"]
        assert ("Link" in response.headers) == bool(target)
        if target:
            assert response.headers["Link"] == f'<{target}>; rel="next"'
    assert data == list(range(25))
    assert sizes == [10, 10, 5]
    # The last cursor leads to the events that came meanwhile.
    await apublish("demo.a", "new")
    rows = await history(async_client, "json", f"topic=demo.a&since={body['cursor']}")
    assert data_of(rows) == ["new"]


async def test_an_exactly_full_page_may_be_followed_by_an_empty_one(
    async_client: AsyncClient,
) -> None:
    await apublish_many(Event(topics="demo.a", data=i) for i in range(4))
    first = (await async_client.get("/events/history.json?topic=demo.a&limit=4")).json()
    assert data_of(first["events"]) == [0, 1, 2, 3]
    assert first["next"]
    second = (await async_client.get(first["next"])).json()
    assert (second["events"], second["next"]) == ([], None)


def test_the_publish_command_prints_a_cursor() -> None:
    cursor = carillon("publish", "demo.a", "Hello!")
    assert Cursor.parse(cursor)
