"""The builds of Carillon that are measured: this checkout, and an earlier commit beside it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ROOT, Broken

INSTALL_SECONDS = 1_800.0
FINISHED = "installed"


@dataclass(frozen=True, slots=True)
class Build:
    """A checkout, the Python that has its packages, and its commit; none for this checkout."""

    root: Path
    python: str
    commit: str = ""


THIS_BUILD = Build(ROOT, sys.executable)


def earlier_build(commit: str, cache: Path) -> Build:
    """The files of a commit with the packages of its own lock, for the Python that runs this.

    It is made once, in the cache folder. Raises `Broken` if that fails.
    """
    number = _run(["git", "rev-parse", "--verify", "--short=12", f"{commit}^{{commit}}"]).strip()
    root = cache / f"build-{number}-{sys.implementation.cache_tag}"
    build = Build(root, str(root / ".venv" / "bin" / "python"), number[:7])
    if not (root / FINISHED).exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        _install(number, root)
        (root / FINISHED).touch()
    return build


def _install(number: str, root: Path) -> None:
    archive = root / "files.tar"
    _run(["git", "archive", "--output", str(archive), number])
    shutil.unpack_archive(archive, root, filter="data")
    archive.unlink()
    # The commit's own `run` installs its packages, with the Python that it finds in .venv.
    _run([base_python(), "-m", "venv", "--without-pip", ".venv"], folder=root)
    _run(["./run", "bench", "--help"], folder=root, environment=_environment())


def base_python() -> str:
    """The interpreter that made the environment of this program."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _environment() -> dict[str, str]:
    """Without what names the environment of this program."""
    ours = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME"}
    return {name: value for name, value in os.environ.items() if name not in ours}


def _run(
    command: Sequence[str], *, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        text = (done.stderr or done.stdout).strip()[-300:]
        raise Broken(f"`{' '.join(command)}` failed in {folder}: {text}")
    return done.stdout
