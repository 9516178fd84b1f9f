"""The report of the scorecard, as Markdown that anybody may quote."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.scorecard.contestants import Contestant
from benchmarks.scorecard.judge import Verdict
from benchmarks.scorecard.scenarios import Scenario

LEGEND = """\
Each figure is of all subscribers of a scenario together. **Missed**: events acknowledged with a 2xx
that neither came nor were announced as missing (`stream.reset`, `stream-reset`); *reset*: how many
subscribers received that announcement. **Stuck**: subscribers that had received nothing new
{recovery:g} s after the fault was over, though their connection was open or they came back again
and again. *Refused*: events that the publisher was refused; *unknown*: events about which it
received an error or no answer. Neither counts as missed. *Streams refused*: answers other than 200,
at which a browser gives up; these subscribers came back all the same."""

type Key = tuple[str, str]
"""The names of a scenario and of a contestant."""


@dataclass
class Report:
    scenarios: Sequence[Scenario]
    contestants: Sequence[Contestant]
    verdicts: dict[Key, Verdict] = field(default_factory=dict)
    broken: dict[Key, str] = field(default_factory=dict)
    """Why a scenario could not be run."""
    absent: dict[str, str] = field(default_factory=dict)
    """Why a contestant was left out."""

    def losses(self) -> list[str]:
        """The scenarios that ours did not pass, in words."""
        ours = {each.name for each in self.contestants if each.ours}
        lost = [
            f"{scenario}: {summary(verdict)}"
            for (scenario, contestant), verdict in self.verdicts.items()
            if contestant in ours and not verdict.clean
        ]
        return lost + [
            f"{scenario}: {reason}"
            for (scenario, contestant), reason in self.broken.items()
            if contestant in ours
        ]

    def table(self) -> str:
        present = [each for each in self.contestants if each.name not in self.absent]
        rows = [["", *(each.name for each in present)], ["---"] * (len(present) + 1)]
        rows += [
            [scenario.title, *(self._cell((scenario.name, each.name)) for each in present)]
            for scenario in self.scenarios
        ]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _cell(self, key: Key) -> str:
        if key in self.broken:
            return f"could not be run: {self.broken[key]}"
        return summary(self.verdicts[key]) if key in self.verdicts else "not run"

    def markdown(self, about: Mapping[str, str], *, recovery_seconds: float) -> str:
        parts = [
            "# Carillon and its peers under the same faults",
            "Made by `./run scorecard`.",
            "\n".join(
                ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in about.items())]
            ),
            self.table(),
            LEGEND.format(recovery=recovery_seconds),
            "\n".join(f"- {each.name}: {each.configuration}" for each in self.contestants),
            *(f"Left out: {name}: {reason}." for name, reason in self.absent.items()),
        ]
        return "\n\n".join(parts) + "\n"


def summary(verdict: Verdict) -> str:
    """A cell of the table."""
    return "; ".join([*_delivered(verdict), *_published(verdict)])


def _delivered(verdict: Verdict) -> Iterator[str]:
    wrong = {
        "twice": verdict.twice,
        "out of order": verdict.disordered,
        "came though refused": verdict.refused,
    }
    if verdict.missed:
        yield f"**missed {verdict.missed:,} of {verdict.due:,}**"
    else:
        yield f"all of {verdict.due:,}" if not verdict.resets else f"missed none of {verdict.due:,}"
    for fault, number in wrong.items():
        if number:
            yield f"**{number:,} {fault}**"
    if verdict.stuck:
        yield f"**{verdict.stuck} of {verdict.subscribers} stuck**"
    if not verdict.recovered:
        yield "**publishing did not come back**"
    if verdict.violations:
        yield f"**{len(verdict.violations)} violations**"
    if verdict.resets:
        yield f"{verdict.resets} of {verdict.subscribers} reset"
    if verdict.refusals:
        yield f"{verdict.refusals} streams refused"


def _published(verdict: Verdict) -> Iterator[str]:
    for outcome, number in (("refused", verdict.not_sent), ("unknown", verdict.unknown)):
        if number:
            yield f"{number:,} {outcome}"
