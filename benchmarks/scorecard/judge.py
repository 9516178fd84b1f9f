"""What each subscriber was told, beside what was acknowledged: the same for every server."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

type Told = Literal["told"]
"""The stream said that something may be missing from here on."""

type Item = int | Told
"""What a stream delivers: the number of a publication, or that something may be missing."""

TOLD: Told = "told"


@dataclass
class Seat:
    """What one subscriber was told, over all its connections, in the order in which it came."""

    since: int | None = None
    """The publication from which on it asked; none: from the first that it heard."""
    items: list[Item] = field(default_factory=list)
    refusals: int = 0
    """Answers other than 200, at which a browser's EventSource gives up."""
    deaf: bool = False
    """Long after all was well again it had not heard anything new."""

    @property
    def heard(self) -> list[int]:
        return [item for item in self.items if item != TOLD]

    @property
    def start(self) -> int | None:
        heard = self.heard
        return self.since if self.since is not None else heard[0] if heard else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Of all subscribers of a scenario together."""

    subscribers: int
    acknowledged: int = 0
    not_sent: int = 0
    unknown: int = 0
    recovered: bool = True
    """Publishing was acknowledged again, after all was well again."""
    due: int = 0
    missed: int = 0
    twice: int = 0
    disordered: int = 0
    lies: int = 0
    """Came, though the publisher was told that they would not."""
    told: int = 0
    """Subscribers who were told that something may be missing."""
    deaf: int = 0
    refusals: int = 0
    violations: tuple[str, ...] = ()
    """What the stricter checker of `tests/faults` finds, of ours."""

    @property
    def clean(self) -> bool:
        wrong = self.missed + self.twice + self.disordered + self.lies + self.deaf
        return not wrong and self.recovered and not self.violations


def missing(seat: Seat, acknowledged: Collection[int]) -> list[int]:
    """What was acknowledged and never came, but for what the stream said may be missing."""
    start, heard = seat.start, set(seat.heard)
    if start is None:
        return list(acknowledged)
    lacking = [each for each in acknowledged if each > start and each not in heard]
    return [each for each in lacking if not _is_covered(each, seat.items)]


def _is_covered(number: int, items: Sequence[Item]) -> bool:
    """Whether a notice came between what was heard before it and what was heard after it."""
    after = next(
        (place for place, item in enumerate(items) if item != TOLD and item > number), len(items)
    )
    before = max(
        (place for place, item in enumerate(items[:after]) if item != TOLD and item < number),
        default=-1,
    )
    return TOLD in items[before + 1 : after]


def repeated(seat: Seat) -> int:
    return len(seat.heard) - len(set(seat.heard))


def disordered(seat: Seat) -> int:
    """What came for the first time after something that was published later."""
    count, seen, newest = 0, set[int](), -1
    for number in seat.heard:
        count += number < newest and number not in seen
        seen.add(number)
        newest = max(newest, number)
    return count


def judge(
    seats: Sequence[Seat], outcomes: Sequence[str], *, recovered: bool, violations: Sequence[str]
) -> Verdict:
    """`outcomes` is what each publication's publisher was told, by the publication's number."""
    acknowledged = [number for number, said in enumerate(outcomes) if said == "acknowledged"]
    refused = {number for number, said in enumerate(outcomes) if said == "not_sent"}
    return Verdict(
        subscribers=len(seats),
        acknowledged=len(acknowledged),
        not_sent=len(refused),
        unknown=len(outcomes) - len(acknowledged) - len(refused),
        recovered=recovered,
        due=sum(
            sum(1 for each in acknowledged if seat.start is None or each > seat.start)
            for seat in seats
        ),
        missed=sum(len(missing(seat, acknowledged)) for seat in seats),
        twice=sum(map(repeated, seats)),
        disordered=sum(map(disordered, seats)),
        lies=sum(len(refused.intersection(seat.heard)) for seat in seats),
        told=sum(1 for seat in seats if TOLD in seat.items),
        deaf=sum(seat.deaf for seat in seats),
        refusals=sum(seat.refusals for seat in seats),
        violations=tuple(violations),
    )
