"""The table, as Markdown for readers and as JSON for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.processes import Broken
from benchmarks.table import EARLIER, Fault, Key, Line, Results, Row, Scale, earlier, part


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
    compared = any(cell.endswith(EARLIER) for cell in results.samples)
    names = ["", "figure", "user + system", "runs"]
    names += ["earlier", "of earlier"] if compared else []
    names += ["beside", "ratio", "of its user time", "target", "met"]
    for row in rows:
        yield ""
        yield f"## {row.name}: {filled(row.title, scale)}"
        yield ""
        yield f"| {' | '.join(names)} |"
        yield "|---" + "|--:" * (len(names) - 2) + "|---|"
        for line in row.lines:
            yield "| " + " | ".join(_columns(line, results, scale, compared=compared)) + " |"


def _columns(line: Line, results: Results, scale: Scale, *, compared: bool) -> Iterator[str]:
    value = results.median(line.key)
    values = [each * line.factor for each in results.values(line.key)]
    yield filled(line.text, scale)
    yield "–" if value is None else f"{number(value * line.factor)} {line.unit}".strip()
    yield _parts(line.key, line, results)
    yield f"{number(min(values))}–{number(max(values))}" if values else ""
    if compared:
        before = results.median(earlier(line.key))
        parts = _parts(earlier(line.key), line, results)
        yield "" if before is None else number(before * line.factor) + (parts and f" ({parts})")
        yield _times(results.ratio(line.key, earlier(line.key)))
    beside = results.median(line.beside)
    parts = _parts(line.beside, line, results)
    yield (
        ""
        if beside is None
        else (f"{line.beside_text} {number(beside * line.factor)}" + (parts and f" ({parts})"))
    )
    yield _times(results.ratio(line.key, line.beside))
    yield _times(results.ratio(part(line.key, "user"), part(line.beside, "user")))
    yield _target(line)
    yield {True: "yes", False: "**no**", None: ""}[results.met(line)]


def _parts(key: Key | None, line: Line, results: Results) -> str:
    """The user and the system time of a figure that is CPU."""
    user, system = (results.median(part(key, name)) for name in ("user", "system"))
    if user is None or system is None:
        return ""
    return f"{number(user * line.factor)} + {number(system * line.factor)}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3g} ×"


def _target(line: Line) -> str:
    unit = "× earlier" if line.of_earlier else "×" if line.beside else line.unit
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
                    "of earlier": results.ratio(line.key, earlier(line.key)),
                    "ratio": results.ratio(line.key, line.beside),
                    "at_most": line.at_most,
                    "at_least": line.at_least,
                    "of_earlier": line.of_earlier,
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


def read(path: Path, scale: Scale, about: Mapping[str, str]) -> Results:
    """The results that `write` has written. Raises `Broken` if they are of something else."""
    try:
        content = json.loads(path.with_suffix(".json").read_text())
    except FileNotFoundError:
        raise Broken(f"There is no unfinished run: {path} does not exist.") from None
    same = ("commit", "CPU", "Python", "runs", "earlier")
    if content["scale"] != asdict(scale) or any(
        content["about"].get(name) != about.get(name) for name in same
    ):
        raise Broken(f"{path} is of another commit, machine or size: start without --resume.")
    return Results(
        content["samples"], [Fault(**fault) for fault in content["faults"]], content["missing"]
    )


def remove(path: Path) -> None:
    for each in (path, path.with_suffix(".json")):
        each.unlink(missing_ok=True)
