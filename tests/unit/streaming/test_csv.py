"""`CsvStream`: any rows as a quoted file, page by page, and without a transaction."""

import csv
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from typing import Any, NamedTuple

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from notifications.streaming import CsvStream
from notifications.streaming.csv import cell, escape_formula

FIELDS = ("id", "username")


async def rows_of(response: CsvStream) -> list[list[str]]:
    text = b"".join([chunk async for chunk in response]).decode()
    return list(csv.reader(StringIO(text, newline="")))


async def body_of(response: CsvStream) -> list[list[str]]:
    return (await rows_of(response))[1:]


# Cells


@pytest.mark.parametrize("first", "=+-@\t\r\n＝＋－＠")
def test_text_that_begins_like_a_formula_is_made_text(first: str) -> None:
    assert escape_formula(f"{first}A1") == f"'{first}A1"
    assert escape_formula(f"A1{first}") == f"A1{first}"


@pytest.mark.parametrize("number", ["-1", "+1", "-1.5", "-.5", "+1e9", "-1.5E-3"])
def test_a_number_stays_a_number(number: str) -> None:
    assert escape_formula(number) == number


@pytest.mark.parametrize("text", ["-", "+", "-1-1", "--1", "-1e", "-1 ", "-٣", "+1e9999"])
def test_text_that_only_begins_like_a_number_is_made_text(text: str) -> None:
    assert escape_formula(text) == f"'{text}"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (-5, -5),
        (1.5, 1.5),
        (Decimal("-1.50"), "-1.50"),
        (True, "true"),
        (date(2026, 11, 22), "2026-11-22"),
        (datetime(2026, 11, 22, 12, tzinfo=UTC), "2026-11-22T12:00:00+00:00"),
        ({"a": [1]}, '{"a":[1]}'),
        ("=x", "'=x"),
    ],
)
def test_any_value_has_a_cell(value: Any, written: Any) -> None:
    assert cell(value) == written


# Rows


async def test_sequences_mappings_and_objects_are_rows() -> None:
    class Point(NamedTuple):
        x: int
        y: int

    async def points() -> AsyncIterator[Any]:
        yield Point(1, 2)
        yield {"x": 3, "y": 4}
        yield [5, 6]

    assert await rows_of(CsvStream(points(), columns=["x", "y"])) == [
        ["x", "y"],
        ["1", "2"],
        ["3", "4"],
        ["5", "6"],
    ]


async def test_a_column_may_be_a_function_under_any_header() -> None:
    rows = [{"price": 2, "count": 3}]
    columns: dict[str, Any] = {"=Price": "price", "Total": lambda row: row["price"] * row["count"]}
    assert await rows_of(CsvStream(rows, columns=columns)) == [["'=Price", "Total"], ["2", "6"]]


async def test_a_generator_is_read_while_it_is_sent() -> None:
    yielded: list[int] = []

    def numbers() -> Iterator[list[int]]:
        for i in range(1_000_000):
            yielded.append(i)
            yield [i]

    response = CsvStream(numbers(), columns=["n"], page=10)
    chunks = aiter(response)
    assert await anext(chunks) == b"n\r\n"
    assert (await anext(chunks)).startswith(b"0\r\n1\r\n")
    assert len(yielded) == 10


async def test_closing_the_response_ends_its_source() -> None:
    ended: list[bool] = []

    async def numbers() -> AsyncIterator[list[int]]:
        try:
            while True:
                yield [1]
        finally:
            ended.append(True)

    chunks: Any = aiter(CsvStream(numbers(), columns=["n"]))
    await anext(chunks)
    await anext(chunks)
    await chunks.aclose()
    assert ended == [True]


async def test_with_bom_the_file_is_marked_as_utf8() -> None:
    chunks = aiter(CsvStream([["ä"]], columns=["ö"], bom=True))
    assert await anext(chunks) == "\ufeffö\r\n".encode()


@pytest.mark.parametrize(
    ("filename", "written"),
    [
        ("orders.csv", 'attachment; filename="orders.csv"'),
        ('a"b.csv', 'attachment; filename="a\\"b.csv"'),
        ("Aufträge.csv", "attachment; filename*=utf-8''Auftr%C3%A4ge.csv"),
        ("a\r\nSet-Cookie: x", 'attachment; filename="a__Set-Cookie: x"'),
    ],
)
def test_the_file_has_its_name(filename: str, written: str) -> None:
    response = CsvStream([], columns=["n"], filename=filename)
    assert response["Content-Disposition"] == written


# QuerySets


@pytest.fixture
def users(transactional_db: None) -> None:
    User.objects.bulk_create(User(username=f"u{i}") for i in range(25))


@pytest.mark.usefixtures("users")
def test_a_queryset_is_read_by_its_key_with_one_query_for_each_page() -> None:
    with CaptureQueriesContext(connection) as queries:
        rows = async_to_sync(body_of)(CsvStream(User.objects.all(), columns=FIELDS, page=10))
    assert [name for _, name in rows] == [f"u{i}" for i in range(25)]
    assert len(queries) == 3
    assert not any("OFFSET" in query["sql"] for query in queries.captured_queries)


@pytest.mark.usefixtures("users")
@pytest.mark.parametrize("size", [5, 25, 26])
async def test_the_page_size_does_not_change_the_file(size: int) -> None:
    rows = await body_of(CsvStream(User.objects.order_by("-pk"), columns=FIELDS, page=size))
    assert [name for _, name in rows] == [f"u{i}" for i in reversed(range(25))]


@pytest.mark.usefixtures("users")
async def test_values_filters_and_annotations_are_kept() -> None:
    filtered = User.objects.filter(username__startswith="u1")
    expected = ["u1", *(f"u1{i}" for i in range(10))]
    for queryset in (
        filtered,
        filtered.values("pk", "username"),
        filtered.values_list(*FIELDS, named=True),
    ):
        rows = await body_of(CsvStream(queryset, columns=["username"], page=3))
        assert [name for (name,) in rows] == expected


@pytest.mark.usefixtures("users")
async def test_a_column_may_go_through_a_relation() -> None:
    permission = await Permission.objects.select_related("content_type").afirst()
    assert permission
    columns = {"model": "content_type__model", "code": "codename"}
    for queryset in (Permission.objects.all(), Permission.objects.select_related("content_type")):
        rows = await body_of(CsvStream(queryset, columns=columns))
        assert [permission.content_type.model, permission.codename] in rows


@pytest.mark.usefixtures("users")
async def test_other_connections_can_write_while_it_is_read() -> None:
    chunks: Any = aiter(CsvStream(User.objects.all(), columns=FIELDS, page=5))
    await anext(chunks)
    await anext(chunks)
    assert not connection.in_atomic_block
    # Without a timeout, as from another process: an open read would lock the writer out.
    name = connection.settings_dict["NAME"]
    with sqlite3.connect(str(name), timeout=0, uri=str(name).startswith("file:")) as other:
        other.execute("DELETE FROM auth_user WHERE username = 'u20'")
    other.close()
    following = b"".join([chunk async for chunk in chunks]).decode()
    assert "u19" in following
    assert "u20" not in following


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: User.objects.order_by("username"), "aiterator"),
        (lambda: User.objects.order_by("pk", "username"), "aiterator"),
        (lambda: User.objects.all()[:5], "sliced"),
        (lambda: User.objects.values("username"), "Add 'id' to values"),
        (lambda: User.objects.values_list("id"), "named=True"),
        (lambda: Group.objects.filter(pk=1).union(Group.objects.filter(pk=2)), "combined"),
    ],
)
def test_a_queryset_that_cannot_be_read_by_its_key_is_refused_at_once(
    make: Any, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        CsvStream(make(), columns=["id"])


@pytest.mark.usefixtures("users")
async def test_another_order_is_read_by_its_aiterator() -> None:
    source = User.objects.order_by("-username").aiterator(chunk_size=10)
    rows = await body_of(CsvStream(source, columns=["username"]))
    assert rows[0] == ["u9"]
    assert len(rows) == 25
