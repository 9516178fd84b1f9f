"""The doctor's verdicts: one per question, with the cure where there is one."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Grade(StrEnum):
    OK = "ok"
    FAULT = "fault"
    ADVICE = "advice"
    """It works, and could work better."""
    UNTESTED = "untested"


@dataclass(frozen=True, slots=True)
class Verdict:
    name: str
    grade: Grade
    text: str
    cure: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {name: str(value) for name, value in asdict(self).items() if value}


def ok(name: str, text: str) -> Verdict:
    return Verdict(name, Grade.OK, text)


def fault(name: str, text: str, cure: str) -> Verdict:
    return Verdict(name, Grade.FAULT, text, cure)


def advice(name: str, text: str, cure: str) -> Verdict:
    return Verdict(name, Grade.ADVICE, text, cure)


def untested(name: str, why: str, cure: str = "") -> Verdict:
    return Verdict(name, Grade.UNTESTED, why, cure)


def faults(verdicts: Iterable[Verdict]) -> int:
    return sum(verdict.grade is Grade.FAULT for verdict in verdicts)


def lines(verdict: Verdict) -> Iterator[str]:
    """The verdict for people: one line, and its cure on a second one."""
    grade = verdict.grade.upper() if verdict.grade is Grade.FAULT else verdict.grade
    yield f"{grade:<9} {verdict.name:<11} {verdict.text}"
    if verdict.cure:
        yield f"{'':<21} Cure: {verdict.cure}"
