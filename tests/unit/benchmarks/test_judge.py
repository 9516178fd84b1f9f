"""The judge, with observations that were made up: each kind of wrong is found, and nothing else."""

import pytest

from benchmarks.scorecard.contestants import CONTESTANTS
from benchmarks.scorecard.judge import TOLD, Item, Seat, Verdict, judge
from benchmarks.scorecard.report import Card, summary, table
from benchmarks.scorecard.scenarios import SCENARIOS

ACKNOWLEDGED = ["acknowledged"] * 6
OURS, OTHER, ABSENT = CONTESTANTS


def judged(*items: Item, outcomes: list[str] = ACKNOWLEDGED, since: int | None = None) -> Verdict:
    seat = Seat(since=since, items=list(items))
    return judge([seat], outcomes, recovered=True, violations=[])


def test_who_heard_all_from_the_first_on_missed_nothing() -> None:
    verdict = judged(2, 3, 4, 5)
    assert verdict.clean
    assert (verdict.due, verdict.acknowledged) == (3, 6)


def test_who_asked_from_a_place_on_missed_what_came_after_it() -> None:
    assert judged(4, 5, since=1).missed == 2
    assert judged(since=1).missed == 4


def test_who_never_heard_anything_missed_everything() -> None:
    assert judged().missed == judged().due == 6


@pytest.mark.parametrize("items", [(0, 1, 4, 5), (0, 1, 2, 3)], ids=["a hole", "an end too soon"])
def test_what_was_acknowledged_and_did_not_come_was_missed(items: tuple[int, ...]) -> None:
    verdict = judged(*items)
    assert verdict.missed == 2
    assert not verdict.clean


def test_a_hole_that_was_announced_is_none() -> None:
    verdict = judged(0, 1, TOLD, 4, 5)
    assert verdict.clean
    assert verdict.told == 1
    assert judged(0, 1, 2, 3, TOLD).clean


@pytest.mark.parametrize("items", [(0, TOLD, 1, 4, 5), (0, 1, 4, TOLD, 5)], ids=["before", "after"])
def test_an_announcement_elsewhere_covers_no_hole(items: tuple[Item, ...]) -> None:
    assert judged(*items).missed == 2


def test_what_was_not_acknowledged_need_not_come_and_may() -> None:
    outcomes = ["acknowledged", "not_sent", "unknown", "acknowledged"]
    assert judged(0, 3, outcomes=outcomes).clean
    assert judged(0, 2, 3, outcomes=outcomes).clean
    verdict = judged(0, 1, 3, outcomes=outcomes)
    assert verdict.lies == 1
    assert not verdict.clean


def test_what_comes_again_came_twice_and_was_not_disordered() -> None:
    verdict = judged(0, 1, 2, 1, 2, 3, 4, 5)
    assert (verdict.twice, verdict.disordered, verdict.missed) == (2, 0, 0)
    assert not verdict.clean


def test_what_comes_late_is_disordered_and_was_not_missed() -> None:
    verdict = judged(0, 1, 3, 2, 4, 5)
    assert (verdict.twice, verdict.disordered, verdict.missed) == (0, 1, 0)
    assert not verdict.clean


def test_the_deaf_and_what_the_stricter_checker_finds_are_wrong() -> None:
    seat = Seat(items=[0, 1], deaf=True)
    assert judge([seat], ["acknowledged"] * 2, recovered=True, violations=[]).deaf == 1
    seats = [Seat(items=[0, 1])]
    assert judge(seats, ["acknowledged"] * 2, recovered=True, violations=[]).clean
    assert not judge(seats, ["acknowledged"] * 2, recovered=False, violations=[]).clean
    assert not judge(seats, ["acknowledged"] * 2, recovered=True, violations=["so"]).clean


def test_the_table_says_what_was_lost_and_who_was_left_out() -> None:
    one, other = SCENARIOS[:2]
    lost, well = judged(0, 1, 4, 5), judged(0, 1, 2, 3, 4, 5)
    card = Card([one, other], CONTESTANTS, absent={ABSENT.name: "it is not installed"})
    card.verdicts = {(one.name, OURS.name): well, (one.name, OTHER.name): lost}
    card.broken = {(other.name, OTHER.name): "it does not start"}
    said = table(card)
    assert f"| {one.title} | all of 5 | **missed 2 of 5** |" in said
    assert f"| {other.title} | not run | could not be run: it does not start |" in said
    assert ABSENT.name not in said
    assert card.losses() == []


def test_a_loss_of_ours_and_what_of_ours_could_not_be_run_are_losses() -> None:
    lost = judged(0, 1, 4, 5)
    card = Card(SCENARIOS, CONTESTANTS)
    card.verdicts = {("cut", OURS.name): lost, ("kill", OTHER.name): lost}
    card.broken = {("join", OURS.name): "it does not start"}
    assert card.losses() == [f"cut: {summary(lost)}", "join: it does not start"]
