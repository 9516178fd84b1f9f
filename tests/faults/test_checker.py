"""The checker sees each thing that must not be."""

import json

import pytest

from notifications.log.cursors import Cursor, position
from notifications.sse import ServerSentEvent
from tests.harness.checker import Heard, Outcome, Publication, last_of, violations

ONE, OTHER = "0123456789ab", "ba9876543210"


def at(ms: int, epoch: str = ONE) -> Cursor:
    return Cursor(epoch, position(ms))


def published(data: str, ms: int | None, epoch: str = ONE) -> Publication:
    if ms is None:
        return Publication("t", data)
    return Publication("t", data, "acknowledged", at(ms, epoch))


def event(data: str, ms: int, epoch: str = ONE) -> ServerSentEvent:
    return ServerSentEvent(type="message", data=data, id=str(at(ms, epoch)))


def cursor(ms: int, epoch: str = ONE) -> ServerSentEvent:
    return ServerSentEvent(type="stream.cursor", data="", id=str(at(ms, epoch)))


def reset(ms: int, epoch: str = ONE) -> ServerSentEvent:
    data = json.dumps({"reason": "log_lost"})
    return ServerSentEvent(type="stream.reset", data=data, id=str(at(ms, epoch)))


ALL = [published("a", 2), published("b", 3), published("c", 5)]


def wrong(*told: ServerSentEvent, of: list[Publication] | None = None) -> list[str]:
    heard = Heard("reader", frozenset(["t"]))
    for each in told:
        heard.told(each)
    return violations(ALL if of is None else of, heard)


@pytest.mark.parametrize(
    "told",
    [
        [cursor(1), event("a", 2), event("b", 3), cursor(4), event("c", 5)],
        [cursor(2), event("b", 3), cursor(3), cursor(4), event("c", 5)],
        [cursor(1), event("a", 2), reset(9)],
        [cursor(1), reset(9, OTHER), cursor(10, OTHER)],
        [cursor(1), event("a", 2)],
    ],
    ids=["all", "joined late", "reset", "another epoch", "not yet"],
)
def test_what_is_well(told: list[ServerSentEvent]) -> None:
    assert wrong(*told) == []


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ([cursor(1), event("b", 3)], "is missing"),
        ([cursor(1), event("a", 2), cursor(4)], "is missing"),
        ([cursor(1), event("a", 2), reset(3), cursor(5)], "is missing"),
        ([cursor(1), event("a", 2), event("b", 3), event("a", 4), event("c", 5)], "twice"),
        ([cursor(1), event("a", 2), event("a", 2)], "comes after"),
        ([cursor(1), event("b", 3), event("a", 2)], "comes after"),
        ([cursor(5), event("x", 6)], "never published"),
        ([cursor(1), event("a", 2), cursor(9, OTHER)], "without a reset"),
        ([cursor(3), event("c", 4)], "acknowledged at"),
    ],
)
def test_what_is_not(told: list[ServerSentEvent], said: str) -> None:
    assert said in "\n".join(wrong(*told))


@pytest.mark.parametrize(("outcome", "well"), [("unknown", True), ("not_sent", False)])
def test_what_was_refused_must_not_come_and_what_is_unknown_may(
    outcome: Outcome, well: bool
) -> None:
    assert (not wrong(cursor(1), event("x", 2), of=[Publication("t", "x", outcome)])) is well
    assert not wrong(cursor(1), cursor(3), of=[Publication("t", "x", outcome)])


def test_the_last_place_is_no_older_for_an_acknowledgement_that_came_late() -> None:
    late, repeated = published("b", 3), published("a", 2)
    late.when, repeated.when, repeated.repeated = 1.0, 2.0, True
    assert last_of([late, repeated, published("c", 5)]) == at(5)


def test_the_last_place_is_of_the_newest_epoch() -> None:
    lost, new, repeated = published("a", 9), published("b", 3, OTHER), published("c", 5)
    lost.when, new.when, repeated.when, repeated.repeated = 1.0, 2.0, 3.0, True
    assert last_of([lost, new, repeated, published("d", None)]) == at(3, OTHER)
