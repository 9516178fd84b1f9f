"""Runs the cells of the rows in turn, A B A B …, and prints its progress."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import peers
from benchmarks.processes import ROOT, Broken
from benchmarks.referee import Referee, compiled
from benchmarks.table import Bench, Cell, Fault, Results, Row, Scale

MAKE_DATABASE = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
call_command("migrate", verbosity=0)
user = User.objects.create_user("bench")
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(user.pk, session.session_key)
"""


def run(rows: Sequence[Row], results: Results, *, scale: Scale, runs: int, cache: Path) -> None:
    """Measure every cell of the rows `runs` times. A failure is printed, and kept as a fault."""
    program = compiled(cache)
    _raise_descriptor_limit(scale.crowd + 200)
    with TemporaryDirectory(prefix="carillon-bench-") as name:
        folder = Path(name)
        bench = Bench(
            folder, Referee(program, lost_after=scale.lost_after), scale, _prepare(folder)
        )
        plan = list(_plan(rows, runs))
        for index, (cell, number) in enumerate(plan):
            left = sum(each.seconds for each, _ in plan[index:]) * scale.pace
            _print(
                f"[{index + 1}/{len(plan)}] {cell.name}, run {number}/{runs}, {_clock(left)} left"
            )
            _measure(bench, cell, number, results)


def _plan(rows: Sequence[Row], runs: int) -> Iterator[tuple[Cell, int]]:
    """The cells of each row in turn, once per run. A cell of several rows is measured once."""
    planned: set[str] = set()
    for row in rows:
        cells = [cell for cell in row.cells if cell.name not in planned]
        planned.update(cell.name for cell in cells)
        for number in range(1, runs + 1):
            for cell in cells:
                yield cell, number


def _measure(bench: Bench, cell: Cell, number: int, results: Results) -> None:
    if reason := cell.missing():
        results.missing[cell.name] = reason
        return
    try:
        sample = cell.measure(bench)
    except Broken as error:
        _print(f"  {cell.name}: {error}")
        results.faults.append(Fault(cell.name, number, str(error), cell.ours))
    else:
        results.samples.setdefault(cell.name, []).append(sample)


def _prepare(folder: Path) -> str:
    """Make a database with one user; return the key of a session of that user."""
    with peers.redis(folder) as store:
        done = subprocess.run(
            [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", MAKE_DATABASE],
            cwd=ROOT,
            env=peers.environment(folder, store),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise Broken(f"The database cannot be created: {done.stderr.strip()}")
    user, _, session = done.stdout.strip().rpartition("\n")[2].partition(" ")
    assert user == "1"
    return session


def _raise_descriptor_limit(needed: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise Broken(f"{needed} descriptors are needed and {hard} allowed (ulimit -Hn).")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    return f"about {max(1, round(seconds / 60))} min"


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "carillon-bench"
