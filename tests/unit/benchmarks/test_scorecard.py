"""`./run scorecard` with one scenario for Carillon and one peer."""

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.scorecard import __main__ as command
from benchmarks.scorecard.contestants import CONTESTANTS
from benchmarks.scorecard.report import Report
from benchmarks.scorecard.scenarios import SCENARIOS
from tests.harness.servers import ROOT, binary
from tests.harness.warm import ENVIRONMENT, python_process, run_python

RESULT = ROOT / "benchmarks" / "results" / "scorecard.md"
DEADLINE_SECONDS = 100.0
COMMAND = "-m", "benchmarks.scorecard", "--only", "join"
POLL_SECONDS = 0.02


def children_of(pid: int, *, least: int) -> list[psutil.Process]:
    """Its descendants, as soon as there are so many."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(children := psutil.Process(pid).children(recursive=True)) < least:
        assert time.monotonic() < deadline
        time.sleep(POLL_SECONDS)
    return children


def table_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


@pytest.fixture
def _redis() -> None:
    binary("redis-server")


@pytest.mark.usefixtures("_redis")
def test_carillon_and_a_peer_are_judged(tmp_path: Path) -> None:
    done = run_python(
        *(*COMMAND, "--only", "Carillon", "--only", "django-eventstream"),
        *("--results", str(tmp_path)),
        env=ENVIRONMENT,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = (tmp_path / "scorecard-some.md").read_text()
    *_, names, _, row = table_lines(written)
    assert names == "|  | Carillon | django-eventstream |"
    _, title, ours, theirs, _ = row.split("|")
    assert title.strip() == next(each.title for each in SCENARIOS if each.name == "join")
    assert ours.strip().startswith("all of ")
    assert " of " in theirs


@pytest.mark.usefixtures("_redis")
def test_ctrl_c_ends_all_processes(tmp_path: Path) -> None:
    program = python_process(
        *(*COMMAND, "--only", "django-eventstream", "--results", str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, "PYTHONUNBUFFERED": "1"},
    )
    with program:
        assert program.stderr is not None
        assert "[1/1" in program.stderr.readline()
        started = children_of(program.pid, least=2)  # a Redis and a server
        program.send_signal(signal.SIGINT)
        program.stderr.read()
        assert program.wait(DEADLINE_SECONDS) == command.INTERRUPTED
    _, alive = psutil.wait_procs(started, timeout=DEADLINE_SECONDS)
    assert alive == []
    assert not list(tmp_path.iterdir())


def test_the_documentation_quotes_the_table_that_the_command_wrote() -> None:
    rows = table_lines(RESULT.read_text())
    scores = rows[rows.index("|  | Carillon | django-eventstream | nchan |") :]
    quoted = (ROOT / "docs" / "reliability.md").read_text()
    assert all(row in quoted for row in scores)
    titles = [each.title for each in SCENARIOS]
    assert [row.split(" | ")[0].removeprefix("| ") for row in scores[2:]] == titles


def test_help_names_every_scenario_and_peer(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    output = capsys.readouterr().out
    assert all(each.name in output and each.title in output for each in SCENARIOS)
    assert all(each.name in output for each in CONTESTANTS)
    assert "apt install redis-server nginx libnginx-mod-nchan" in output


def test_without_a_redis_server_the_package_to_install_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command.main(["--results", str(tmp_path)]) == 1
    assert "apt install redis-server" in capsys.readouterr().err


def test_a_peer_that_is_not_installed_is_reported_and_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nchan = next(each for each in CONTESTANTS if each.name == "nchan")
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "scorecard.md"
    assert command.score(Report([], [nchan]), folder=tmp_path, path=path) == 0
    assert "Left out: nchan: nchan is not installed (apt install" in path.read_text()
    assert "apt install nginx libnginx-mod-nchan" in capsys.readouterr().err
