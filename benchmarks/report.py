"""The table, as Markdown for readers and as JSON for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.table import Line, Results, Row, Scale


def markdown(rows: Sequence[Row], results: Results, scale: Scale, about: Mapping[str, str]) -> str:
    return "\n".join(_document(rows, results, scale, about)) + "\n"


def _document(
    rows: Sequence[Row], results: Results, scale: Scale, about: Mapping[str, str]
) -> Iterator[str]:
    yield "# Carillon beside its peers"
    yield ""
    yield "Medians, each with its least and its greatest run. Made by `./run bench`."
    yield ""
    yield "| | |"
    yield "|---|---|"
    for name, value in about.items():
        yield f"| {name} | {value} |"
    if results.faults:
        yield ""
        yield "**Not every measurement succeeded:**"
        yield ""
        for fault in results.faults:
            yield f"- {fault.cell}, run {fault.run}: {fault.reason}"
    for cell, reason in results.missing.items():
        yield ""
        yield f"Not measured here: {cell}: {reason}."
    for row in rows:
        yield ""
        yield f"## {row.name}: {filled(row.title, scale)}"
        yield ""
        yield "| | figure | runs | beside | ratio | target | met |"
        yield "|---|--:|--:|---|--:|--:|---|"
        for line in row.lines:
            yield "| " + " | ".join(_columns(line, results, scale)) + " |"


def _columns(line: Line, results: Results, scale: Scale) -> tuple[str, ...]:
    value, ratio = results.median(line.key), results.ratio(line)
    beside = results.median(line.beside)
    values = [each * line.factor for each in results.values(line.key)]
    spread = f"{number(min(values))}–{number(max(values))}" if values else ""
    met = {True: "yes", False: "**no**", None: ""}[results.met(line)]
    return (
        filled(line.text, scale),
        "–" if value is None else f"{number(value * line.factor)} {line.unit}".strip(),
        spread,
        "" if beside is None else f"{line.beside_text} {number(beside * line.factor)}",
        "" if ratio is None else f"{ratio:.3g} ×",
        _target(line),
        met,
    )


def _target(line: Line) -> str:
    unit = "×" if line.beside else line.unit
    if line.at_most is not None:
        return f"≤ {number(line.at_most)} {unit}".strip()
    if line.at_least is not None:
        return f"≥ {number(line.at_least)} {unit}".strip()
    return ""


def number(value: float) -> str:
    """Three significant digits, or a whole number."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def filled(text: str, scale: Scale) -> str:
    return text.format(**{name: f"{value:,}" for name, value in asdict(scale).items()})


def as_json(
    rows: Sequence[Row], results: Results, scale: Scale, about: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "about": dict(about),
        "scale": asdict(scale),
        "rows": {
            row.name: [
                {
                    "text": filled(line.text, scale),
                    "unit": line.unit,
                    "values": [value * line.factor for value in results.values(line.key)],
                    "ratio": results.ratio(line),
                    "at_most": line.at_most,
                    "at_least": line.at_least,
                    "met": results.met(line),
                }
                for line in row.lines
            ]
            for row in rows
        },
        "samples": {cell: list(map(dict, samples)) for cell, samples in results.samples.items()},
        "faults": [asdict(fault) for fault in results.faults],
        "missing": results.missing,
    }


def write(
    path: Path, rows: Sequence[Row], results: Results, scale: Scale, about: Mapping[str, str]
) -> None:
    """The table at this path, and its JSON beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(rows, results, scale, about))
    content = as_json(rows, results, scale, about)
    path.with_suffix(".json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
