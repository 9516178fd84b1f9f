"""`./run bench` with tiny measurements: the table is whole, and a loss is reported."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import report
from benchmarks.referee import Delivered
from benchmarks.rows import ROWS
from benchmarks.rows.bursts import STEADY
from benchmarks.rows.connecting import CONNECT, IDLE, MEMORY
from benchmarks.table import FULL, QUICK, Bench, Cell, Fault, Line, Results, Row, Sample, Scale
from tests.harness.servers import needs

TINY = Scale(
    many=5,
    crowd=20,
    fanouts=2,
    crowd_fanouts=1,
    few=2,
    burst=5,
    posts=20,
    batched=1_000,
    retained=500,
    idle=1,
    steady=1,
    steady_rate=50,
    steady_streams=5,
    lost_after=1,
)


@pytest.fixture
def tools() -> None:
    for tool in ("cc", "redis-server"):
        needs(tool, found=shutil.which(tool))


def under_uvicorn(row: Row) -> Row:
    """The part of the row that needs no other server, no peer and no session."""
    names = {"steady uvicorn", "anonymous uvicorn"}
    return replace(
        row,
        cells=[cell for cell in row.cells if cell.name in names],
        lines=[line for line in row.lines if line.key[0] in names],
    )


@pytest.mark.usefixtures("tools")
def test_the_table_is_whole(tmp_path: Path) -> None:
    rows = [under_uvicorn(row) for row in (STEADY, CONNECT, MEMORY, IDLE)]
    path = tmp_path / "results" / "tiny.md"
    assert command.bench(rows, scale=TINY, times=1, path=path) == 0
    content = json.loads(path.with_suffix(".json").read_text())
    for row in rows:
        lines = content["rows"][row.name]
        assert len(lines) == len(row.lines) > 0
        assert all(len(line["values"]) == 1 for line in lines)
    written = path.read_text()
    assert "20 open streams" in written
    assert "| – |" not in written  # the dash of a line without a figure


def deliver_nothing(bench: Bench) -> Sample:
    """The bare application opens streams, accepts publications, and delivers nothing."""
    with bench.site("bare", "uvicorn") as peer:
        delivered: Delivered = bench.referee.deliver(peer, streams=2, events=1, rate=0, settle=0.1)
    return {"delivery": delivered.cpu}


@pytest.mark.usefixtures("tools")
def test_a_lost_delivery_fails_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = Row(
        name="lost",
        title="what does not arrive",
        cells=[Cell(name="lost", measure=deliver_nothing, seconds=2)],
        lines=[Line(text="all of it", key=("lost", "delivery"), unit="µs", at_most=1.0)],
    )
    path = tmp_path / "lost.md"
    assert command.bench([row], scale=TINY, times=1, path=path) == 1
    assert "LOST: 0 of 2 deliveries" in path.read_text()
    assert "LOST: 0 of 2 deliveries" in capsys.readouterr().err


def test_a_peer_that_fails_is_reported_and_does_not_fail_the_run() -> None:
    results = Results(faults=[Fault("nchan", 1, "LOST: 1 of 2 deliveries", ours=False)])
    assert "nchan, run 1: LOST" in report.markdown([], results, TINY, {})


def test_a_figure_meets_its_bound_or_not() -> None:
    results = Results(samples={"ours": [{"cpu": 2.0}, {"cpu": 1.0}, {"cpu": 9.0}]})
    line = Line(text="", key=("ours", "cpu"), unit="", at_most=2.0)
    assert results.met(line) is True
    assert results.met(replace(line, at_most=1.9)) is False
    assert results.met(replace(line, factor=10)) is False
    assert results.met(replace(line, at_most=None, at_least=2.1)) is False
    assert results.met(replace(line, at_most=None)) is None
    assert results.met(replace(line, key=("missing", "cpu"))) is None


def test_a_bound_beside_a_peer_applies_to_the_ratio() -> None:
    results = Results(samples={"ours": [{"cpu": 3.0}], "theirs": [{"cpu": 2.0}]})
    line = Line(
        text="", key=("ours", "cpu"), unit="", factor=1e6, beside=("theirs", "cpu"), at_most=1.5
    )
    assert results.met(line) is True
    assert results.met(replace(line, at_most=1.4)) is False
    assert results.met(replace(line, beside=("missing", "cpu"))) is None


def test_every_line_is_measured_by_its_row() -> None:
    for row in ROWS:
        measured = {cell.name for cell in row.cells}
        assert {line.key[0] for line in row.lines} <= measured
        assert {line.beside[0] for line in row.lines if line.beside} <= measured


def test_help_names_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    output = capsys.readouterr().out
    assert all(row.name in output for row in ROWS)
    assert CONNECT.title.format(crowd=f"{FULL.crowd:,}") in output
    assert QUICK.crowd < FULL.crowd


def test_an_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["nothing"])
    assert "nothing" in capsys.readouterr().err
