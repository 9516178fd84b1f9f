"""The checker finds each broken promise, and nothing else."""

import json

import pytest

from notifications.log.cursors import Cursor, make_position
from notifications.sse import ServerSentEvent
from tests.harness.checker import Observation, Outcome, Publication, last_position, violations

ONE, OTHER = "0123456789ab", "ba9876543210"


def at(ms: int, epoch: str = ONE) -> Cursor:
    return Cursor(epoch, make_position(ms))


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


def check(*received: ServerSentEvent, of: list[Publication] | None = None) -> list[str]:
    observation = Observation("reader", frozenset(["t"]))
    for each in received:
        observation.receive(each)
    return violations(ALL if of is None else of, observation)


@pytest.mark.parametrize(
    "received",
    [
        [cursor(1), event("a", 2), event("b", 3), cursor(4), event("c", 5)],
        [cursor(2), event("b", 3), cursor(3), cursor(4), event("c", 5)],
        [cursor(1), event("a", 2), reset(9)],
        [cursor(1), reset(9, OTHER), cursor(10, OTHER)],
        [cursor(1), event("a", 2)],
    ],
    ids=["all", "joined late", "reset", "another epoch", "not yet"],
)
def test_nothing_is_found_where_every_promise_is_kept(received: list[ServerSentEvent]) -> None:
    assert check(*received) == []


@pytest.mark.parametrize(
    ("received", "violation"),
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
def test_a_broken_promise_is_found(received: list[ServerSentEvent], violation: str) -> None:
    assert violation in "\n".join(check(*received))


@pytest.mark.parametrize(("outcome", "allowed"), [("unknown", True), ("not_sent", False)])
def test_a_refused_event_must_not_come_and_an_unknown_one_may(
    outcome: Outcome, allowed: bool
) -> None:
    assert (not check(cursor(1), event("x", 2), of=[Publication("t", "x", outcome)])) is allowed
    assert not check(cursor(1), cursor(3), of=[Publication("t", "x", outcome)])


def test_the_last_position_is_no_older_for_an_acknowledgement_that_came_late() -> None:
    late, repeated = published("b", 3), published("a", 2)
    late.acknowledged_at, repeated.acknowledged_at, repeated.repeated = 1.0, 2.0, True
    assert last_position([late, repeated, published("c", 5)]) == at(5)


def test_the_last_position_is_of_the_newest_epoch() -> None:
    lost, new, repeated = published("a", 9), published("b", 3, OTHER), published("c", 5)
    lost.acknowledged_at, new.acknowledged_at, repeated.acknowledged_at = 1.0, 2.0, 3.0
    repeated.repeated = True
    assert last_position([lost, new, repeated, published("d", None)]) == at(3, OTHER)
