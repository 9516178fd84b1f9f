"""`./run bench` with tiny measurements: the table is whole, and a loss is reported."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import peers, probe, report
from benchmarks.builds import Build
from benchmarks.processes import ROOT, Broken, Cpu
from benchmarks.referee import Delivered
from benchmarks.rows import ROWS
from benchmarks.rows.bursts import STEADY
from benchmarks.rows.connecting import CONNECT, IDLE, MEMORY
from benchmarks.table import (
    EARLIER,
    FULL,
    QUICK,
    Bench,
    Cell,
    Fault,
    Line,
    Results,
    Row,
    Sample,
    Scale,
)
from tests.harness.servers import binary

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
    spread=0,
    steady=1,
    steady_rate=50,
    steady_streams=5,
    lost_after=1,
)


EARLIER_BUILD = Build(ROOT, sys.executable, "earlier")
"""This checkout once more, because to install another one takes a minute."""


@pytest.fixture
def tools() -> None:
    for tool in ("cc", "redis-server"):
        binary(tool)


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
    assert "the slope up to 20" in written
    assert "| – |" not in written  # the dash of a line without a figure
    assert not path.with_name("tiny-unfinished.md").exists()
    [opened] = content["samples"]["anonymous uvicorn"]
    assert opened["connect"] == pytest.approx(opened["connect user"] + opened["connect system"])
    assert opened["queries"] == 0


def deliver_nothing(bench: Bench) -> Sample:
    """The bare application opens streams, accepts publications, and delivers nothing."""
    with bench.site("bare", "uvicorn") as peer:
        delivered: Delivered = bench.referee.deliver(peer, streams=2, events=1, rate=0, settle=0.1)
    return delivered.cpu.figures("delivery")


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


def test_the_user_time_of_a_figure_is_compared_with_that_of_its_peer() -> None:
    results = Results(
        samples={
            "ours": [Cpu(2.0, 4.0).figures("cpu")],
            "theirs": [Cpu(1.0, 9.0).figures("cpu")],
            "memory": [{"cpu": 1.0}],
        }
    )
    line = Line(text="ours", key=("ours", "cpu"), unit="s", beside=("theirs", "cpu"))
    table = report.markdown([row_of(line)], results, TINY, {})
    assert "| ours | 6 s | 2 + 4 | 6–6 |  10 (1 + 9) | 0.6 × | 2 × |" in table
    alone = report.markdown([row_of(replace(line, key=("memory", "cpu")))], results, TINY, {})
    assert "| ours | 1 s |  | 1–1 |  10 (1 + 9) | 0.1 × |  |" in alone


def test_a_bound_of_an_earlier_build_applies_to_the_ratio() -> None:
    samples: dict[str, list[Sample]] = {"ours": [{"cpu": 1.0}], f"ours{EARLIER}": [{"cpu": 2.0}]}
    line = Line(text="ours", key=("ours", "cpu"), unit="s", at_most=0.5, of_earlier=True)
    results = Results(samples=samples)
    assert results.met(line) is True
    assert results.met(replace(line, at_most=0.4)) is False
    assert "| ours | 1 s |  | 1–1 | 2 | 0.5 × |" in report.markdown(
        [row_of(line)], results, TINY, {}
    )
    assert Results(samples={"ours": [{"cpu": 1.0}]}).met(line) is None


def row_of(line: Line) -> Row:
    return Row(name="row", title="title", cells=[], lines=[line])


class Measured:
    """Cells that need no server: they note in which build they were measured."""

    def __init__(self, *, interrupt_at: int = -1) -> None:
        self.names: list[str] = []
        self._interrupt_at = interrupt_at

    def row(self) -> Row:
        cells = [
            Cell(name=name, measure=partial(self._measure, name), seconds=1, compared=name == "a")
            for name in ("a", "b")
        ]
        return Row(name="row", title="title", cells=cells, lines=[])

    def _measure(self, name: str, bench: Bench) -> Sample:
        if len(self.names) == self._interrupt_at:
            raise KeyboardInterrupt
        self.names.append(f"{name}{EARLIER}" if bench.build == EARLIER_BUILD else name)
        return {"cpu": 1.0}


@pytest.mark.usefixtures("tools")
def test_builds_are_measured_in_turn_and_an_interrupted_run_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "some.md"
    unfinished = tmp_path / "some-unfinished.json"

    def bench(measured: Measured, *, scale: Scale = TINY, resume: bool = False) -> int:
        return command.bench(
            [measured.row()],
            scale=scale,
            times=2,
            path=path,
            earlier=EARLIER_BUILD,
            resume=resume,
        )

    first = Measured(interrupt_at=4)
    assert bench(first) == command.INTERRUPTED
    assert first.names == [f"a{EARLIER}", "a", "b", f"a{EARLIER}"]
    assert not path.exists()
    assert len(json.loads(unfinished.read_text())["samples"][f"a{EARLIER}"]) == 2
    with pytest.raises(Broken, match="start without --resume"):
        bench(Measured(), scale=replace(TINY, crowd=22), resume=True)
    rest = Measured()
    assert bench(rest, resume=True) == 0
    assert rest.names == ["a", "b"]
    assert len(json.loads(path.with_suffix(".json").read_text())["samples"]["a"]) == 2
    assert not unfinished.exists()


def test_a_commit_that_does_not_exist_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--beside", "no-such-commit", "--results", str(tmp_path)]) == 1
    assert "no-such-commit" in capsys.readouterr().err


GARBAGE = """
import gc, signal, weakref
gc.disable()
class Knot: pass
knot = Knot()
knot.itself = knot
weakref.finalize(knot, print, "collected", flush=True)
del knot
print("ready", flush=True)
while True: signal.pause()
"""


def test_a_measured_process_collects_its_garbage_when_it_is_asked(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(peers.PROBE_FOLDER),
        "BENCH_PROBES": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, "-c", GARBAGE], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert probe.collect(tmp_path, [process.pid]) == 0
            assert process.stdout.readline() == "collected\n"
            assert probe.collect(tmp_path, [process.pid]) == 0
        finally:
            process.kill()


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


def test_it_needs_no_package_that_only_the_tests_have() -> None:
    """`./run bench` has an environment of its own."""
    required = (ROOT / "benchmarks" / "requirements.txt").read_text()
    assert "\npsycopg==" in required
    program = "import sys; sys.modules['pytest'] = None; import benchmarks.rows"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
