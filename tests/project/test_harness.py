"""How the tests run: in which order, what one sees meanwhile, and what a missing program does."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from tests.harness.servers import ROOT

MODULE = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(4))
def test_it(number):
    with pathlib.Path(os.environ["RAN"]).open("a") as file:
        file.write(f"{os.getpid()} {pathlib.Path(__file__).parent.name}\\n")
"""
CONFTEST = 'pytest_plugins = ["tests.harness.progress", "tests.harness.scheduling"]\n'
FOLDERS = ("unit/values", "serving", "faults")


def pytest_run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_a_process_stays_in_a_folder_and_unit_tests_come_last(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for folder in FOLDERS:
        (tmp_path / "tests" / folder).mkdir(parents=True)
        for name in ("one", "two", "three"):
            name = f"{folder.rpartition('/')[2]}_{name}"
            (tmp_path / "tests" / folder / f"test_{name}.py").write_text(MODULE)
    ran = tmp_path / "ran"
    done = pytest_run(tmp_path, "-p", "xdist", "-n", "2", "--dist", "loadfile", RAN=str(ran))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"100% \d+ s: 36 of 36 tests, 0 failed", done.stdout), done.stdout
    folders = defaultdict[str, list[str]](list)
    for line in ran.read_text().splitlines():
        process, folder = line.split()
        folders[process].append(folder)
    assert {each[0] for each in folders.values()} == {"serving", "faults"}
    for each in folders.values():
        assert sum(one != other for one, other in pairwise(each)) <= 2, each
        unit_tests = each.count("values")
        assert "values" not in each[: len(each) - unit_tests], each


SKIPPING = """
import pytest
from tests.harness.servers import binary

def test_program():
    binary("no-such-program")

def test_module():
    pytest.importorskip("no_such_module")
"""


@pytest.mark.parametrize(("ci", "outcome"), [("", "2 skipped"), ("true", "2 failed")])
def test_what_is_missing_skips_on_a_laptop_and_fails_in_ci(
    tmp_path: Path, ci: str, outcome: str
) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_runtest_makereport\n")
    (tmp_path / "test_it.py").write_text(SKIPPING)
    done = pytest_run(tmp_path, CI=ci)
    assert outcome in done.stdout, done.stdout + done.stderr
