"""The judge, with transcripts made up for the test: it finds each kind of fault, and no other."""

import pytest

from benchmarks.scorecard.contestants import CONTESTANTS
from benchmarks.scorecard.judge import RESET, Item, Transcript, Verdict, judge
from benchmarks.scorecard.report import Report, summary
from benchmarks.scorecard.scenarios import SCENARIOS

ACKNOWLEDGED = ["acknowledged"] * 6
OURS, OTHER, ABSENT = CONTESTANTS


def judged(*items: Item, outcomes: list[str] = ACKNOWLEDGED, since: int | None = None) -> Verdict:
    transcript = Transcript(since=since, items=list(items))
    return judge([transcript], outcomes, recovered=True, violations=[])


def test_a_subscriber_that_received_all_after_its_first_event_missed_nothing() -> None:
    verdict = judged(2, 3, 4, 5)
    assert verdict.clean
    assert (verdict.due, verdict.acknowledged) == (3, 6)


def test_a_subscriber_that_resumed_missed_the_events_after_its_cursor() -> None:
    assert judged(4, 5, since=1).missed == 2
    assert judged(since=1).missed == 4


def test_a_subscriber_that_received_nothing_missed_everything() -> None:
    assert judged().missed == judged().due == 6


@pytest.mark.parametrize("items", [(0, 1, 4, 5), (0, 1, 2, 3)], ids=["a hole", "an end too soon"])
def test_an_acknowledged_event_that_did_not_come_was_missed(items: tuple[int, ...]) -> None:
    verdict = judged(*items)
    assert verdict.missed == 2
    assert not verdict.clean


def test_a_hole_that_a_reset_announced_is_no_loss() -> None:
    verdict = judged(0, 1, RESET, 4, 5)
    assert verdict.clean
    assert verdict.resets == 1
    assert judged(0, 1, 2, 3, RESET).clean


@pytest.mark.parametrize(
    "items", [(0, RESET, 1, 4, 5), (0, 1, 4, RESET, 5)], ids=["before", "after"]
)
def test_a_reset_elsewhere_covers_no_hole(items: tuple[Item, ...]) -> None:
    assert judged(*items).missed == 2


def test_an_event_that_was_not_acknowledged_may_be_missing_and_a_refused_one_must() -> None:
    outcomes = ["acknowledged", "not_sent", "unknown", "acknowledged"]
    assert judged(0, 3, outcomes=outcomes).clean
    assert judged(0, 2, 3, outcomes=outcomes).clean
    verdict = judged(0, 1, 3, outcomes=outcomes)
    assert verdict.refused == 1
    assert not verdict.clean


def test_an_event_that_comes_again_came_twice_and_is_not_out_of_order() -> None:
    verdict = judged(0, 1, 2, 1, 2, 3, 4, 5)
    assert (verdict.twice, verdict.disordered, verdict.missed) == (2, 0, 0)
    assert not verdict.clean


def test_an_event_that_comes_late_is_out_of_order_and_was_not_missed() -> None:
    verdict = judged(0, 1, 3, 2, 4, 5)
    assert (verdict.twice, verdict.disordered, verdict.missed) == (0, 1, 0)
    assert not verdict.clean


def test_stuck_subscribers_and_findings_of_the_stricter_checker_are_faults() -> None:
    stuck = Transcript(items=[0, 1], stuck=True)
    assert judge([stuck], ["acknowledged"] * 2, recovered=True, violations=[]).stuck == 1
    transcripts = [Transcript(items=[0, 1])]
    assert judge(transcripts, ["acknowledged"] * 2, recovered=True, violations=[]).clean
    assert not judge(transcripts, ["acknowledged"] * 2, recovered=False, violations=[]).clean
    assert not judge(
        transcripts, ["acknowledged"] * 2, recovered=True, violations=["a violation"]
    ).clean


def test_the_table_shows_losses_and_omits_absent_contestants() -> None:
    one, other = SCENARIOS[:2]
    lost, well = judged(0, 1, 4, 5), judged(0, 1, 2, 3, 4, 5)
    report = Report([one, other], CONTESTANTS, absent={ABSENT.name: "it is not installed"})
    report.verdicts = {(one.name, OURS.name): well, (one.name, OTHER.name): lost}
    report.broken = {(other.name, OTHER.name): "it does not start"}
    table = report.table()
    assert f"| {one.title} | all of 5 | **missed 2 of 5** |" in table
    assert f"| {other.title} | not run | could not be run: it does not start |" in table
    assert ABSENT.name not in table
    assert report.losses() == []


def test_a_loss_of_ours_and_a_scenario_that_ours_could_not_run_are_losses() -> None:
    lost = judged(0, 1, 4, 5)
    report = Report(SCENARIOS, CONTESTANTS)
    report.verdicts = {("cut", OURS.name): lost, ("kill", OTHER.name): lost}
    report.broken = {("join", OURS.name): "it does not start"}
    assert report.losses() == [f"cut: {summary(lost)}", "join: it does not start"]
