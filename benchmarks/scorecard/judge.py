"""The judge of the scorecard, the same for every server: what came, and what was acknowledged."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

type Reset = Literal["reset"]
"""The stream announced that events may be missing at this point."""

type Item = int | Reset
"""An entry of a stream: the number of a publication, or a reset."""

RESET: Reset = "reset"


@dataclass
class Transcript:
    """The items that one subscriber received, over all its connections, in the order of arrival."""

    since: int | None = None
    """The publication after which it asked to begin; None: it begins with the first it received."""
    items: list[Item] = field(default_factory=list)
    refusals: int = 0
    """Answers other than 200, at which a browser's EventSource gives up."""
    stuck: bool = False
    """It had received nothing new long after the fault was over."""

    @property
    def numbers(self) -> list[int]:
        return [item for item in self.items if item != RESET]

    @property
    def start(self) -> int | None:
        numbers = self.numbers
        return self.since if self.since is not None else numbers[0] if numbers else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The figures of a scenario, over all its subscribers."""

    subscribers: int
    acknowledged: int = 0
    not_sent: int = 0
    unknown: int = 0
    recovered: bool = True
    """Events were acknowledged again after the fault."""
    due: int = 0
    missed: int = 0
    twice: int = 0
    disordered: int = 0
    refused: int = 0
    """Deliveries of events that the publisher had been refused."""
    resets: int = 0
    """Subscribers to which a reset was announced."""
    stuck: int = 0
    refusals: int = 0
    violations: tuple[str, ...] = ()
    """Findings of the stricter checker of `tests/harness`, for ours only."""

    @property
    def clean(self) -> bool:
        wrong = self.missed + self.twice + self.disordered + self.refused + self.stuck
        return not wrong and self.recovered and not self.violations


def missing(transcript: Transcript, acknowledged: Collection[int]) -> list[int]:
    """The acknowledged events that never came, except those that a reset announced as missing."""
    start, received = transcript.start, set(transcript.numbers)
    if start is None:
        return list(acknowledged)
    absent = [each for each in acknowledged if each > start and each not in received]
    return [each for each in absent if not _is_covered(each, transcript.items)]


def _is_covered(number: int, items: Sequence[Item]) -> bool:
    """Whether a reset came between the events before this number and the events after it."""
    after = next(
        (index for index, item in enumerate(items) if item != RESET and item > number), len(items)
    )
    before = max(
        (index for index, item in enumerate(items[:after]) if item != RESET and item < number),
        default=-1,
    )
    return RESET in items[before + 1 : after]


def repeated(transcript: Transcript) -> int:
    return len(transcript.numbers) - len(set(transcript.numbers))


def disordered(transcript: Transcript) -> int:
    """Events that came for the first time after one that was published later."""
    total, seen, newest = 0, set[int](), -1
    for number in transcript.numbers:
        total += number < newest and number not in seen
        seen.add(number)
        newest = max(newest, number)
    return total


def judge(
    transcripts: Sequence[Transcript],
    outcomes: Sequence[str],
    *,
    recovered: bool,
    violations: Sequence[str],
) -> Verdict:
    """`outcomes` has the outcome of each publication, by its number."""
    acknowledged = [n for n, outcome in enumerate(outcomes) if outcome == "acknowledged"]
    not_sent = {n for n, outcome in enumerate(outcomes) if outcome == "not_sent"}
    return Verdict(
        subscribers=len(transcripts),
        acknowledged=len(acknowledged),
        not_sent=len(not_sent),
        unknown=len(outcomes) - len(acknowledged) - len(not_sent),
        recovered=recovered,
        due=sum(
            sum(1 for number in acknowledged if each.start is None or number > each.start)
            for each in transcripts
        ),
        missed=sum(len(missing(each, acknowledged)) for each in transcripts),
        twice=sum(map(repeated, transcripts)),
        disordered=sum(map(disordered, transcripts)),
        refused=sum(len(not_sent.intersection(each.numbers)) for each in transcripts),
        resets=sum(1 for each in transcripts if RESET in each.items),
        stuck=sum(each.stuck for each in transcripts),
        refusals=sum(each.refusals for each in transcripts),
        violations=tuple(violations),
    )
