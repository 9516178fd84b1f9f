"""The scorecard: who held what, as Markdown that anybody may quote."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.scorecard.contestants import Contestant
from benchmarks.scorecard.judge import Verdict
from benchmarks.scorecard.scenarios import Scenario

LEGEND = """\
Each figure is of all subscribers of a scenario together. **Missed** is what was acknowledged with a
2xx, and neither came nor was announced to be missing (`stream.reset`, `stream-reset`); *told* is
how many subscribers heard that. **Deaf** is who had heard nothing new {recovery:g} s
after all was well again, though its connection was open or it came back again and again. *Refused*
is what publishers were told will not come; *unknown* what they were told nothing certain about, by
an error or by no answer: neither counts as missed. *Streams refused* are answers other than 200, at
which a browser gives up; these subscribers came back all the same."""


@dataclass
class Card:
    scenarios: Sequence[Scenario]
    contestants: Sequence[Contestant]
    verdicts: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    """By scenario and contestant."""
    broken: dict[tuple[str, str], str] = field(default_factory=dict)
    """Why it could not be run, likewise."""
    absent: dict[str, str] = field(default_factory=dict)
    """Why a contestant was left out."""

    def losses(self) -> list[str]:
        """What was wrong with ours, in words."""
        ours = [each.name for each in self.contestants if each.ours]
        lost = [
            f"{place[0]}: {summary(verdict)}"
            for place, verdict in self.verdicts.items()
            if place[1] in ours and not verdict.clean
        ]
        return lost + [f"{at[0]}: {why}" for at, why in self.broken.items() if at[1] in ours]


def summary(verdict: Verdict) -> str:
    """A cell of the table."""
    return "; ".join([*_delivered(verdict), *_published(verdict)])


def _delivered(verdict: Verdict) -> Iterator[str]:
    wrong = {
        "twice": verdict.twice,
        "out of order": verdict.disordered,
        "came though refused": verdict.lies,
    }
    if verdict.missed:
        yield f"**missed {verdict.missed:,} of {verdict.due:,}**"
    else:
        yield f"all of {verdict.due:,}" if not verdict.told else f"missed none of {verdict.due:,}"
    for what, number in wrong.items():
        if number:
            yield f"**{number:,} {what}**"
    if verdict.deaf:
        yield f"**{verdict.deaf} of {verdict.subscribers} deaf**"
    if not verdict.recovered:
        yield "**publishing did not come back**"
    if verdict.violations:
        yield f"**{len(verdict.violations)} violations**"
    if verdict.told:
        yield f"{verdict.told} of {verdict.subscribers} told"
    if verdict.refusals:
        yield f"{verdict.refusals} streams refused"


def _published(verdict: Verdict) -> Iterator[str]:
    for what, number in (("refused", verdict.not_sent), ("unknown", verdict.unknown)):
        if number:
            yield f"{number:,} {what}"


def table(card: Card) -> str:
    present = [each for each in card.contestants if each.name not in card.absent]
    rows = [["", *(each.name for each in present)], ["---"] * (len(present) + 1)]
    rows += [
        [scenario.title, *(_cell(card, (scenario.name, each.name)) for each in present)]
        for scenario in card.scenarios
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(card: Card, at: tuple[str, str]) -> str:
    if at in card.broken:
        return f"could not be run: {card.broken[at]}"
    return summary(card.verdicts[at]) if at in card.verdicts else "not run"


def markdown(card: Card, about: Mapping[str, str], *, recovery: float) -> str:
    parts = [
        "# Carillon and its peers, and what befalls them",
        "Made by `./run scorecard`.",
        "\n".join(
            ["| | |", "|---|---|", *(f"| {name} | {said} |" for name, said in about.items())]
        ),
        table(card),
        LEGEND.format(recovery=recovery),
        "\n".join(f"- {each.name}: {each.configuration}" for each in card.contestants),
        *(f"Left out: {name}: {why}." for name, why in card.absent.items()),
    ]
    return "\n\n".join(parts) + "\n"
