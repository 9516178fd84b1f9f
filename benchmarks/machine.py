"""The machine and the versions with which the figures were measured."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.processes import ROOT

PACKAGES = (
    "Django",
    "daphne",
    "Twisted",
    "uvicorn",
    "uvloop",
    "httptools",
    "redis",
    "hiredis",
    "django-eventstream",
)


def description() -> dict[str, str]:
    """The machine, the versions, the commit and the time, by name."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "CPU": f"{_cpu_model()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **{name: number for name in PACKAGES if (number := _version(name))},
        "Redis": _first_group(["redis-server", "--version"], r"v=(\S+)"),
        "nginx": _first_group(["nginx", "-v"], r"nginx/(\S+)"),
        "nchan": _first_group(["dpkg-query", "-W", "libnginx-mod-nchan"], r"\t(\S+)"),
    }


def load() -> float:
    """The average number of processes that wanted a core in the last minute."""
    return os.getloadavg()[0]


def _cpu_model() -> str:
    try:
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    commit = _first_group(["git", "rev-parse", "--short", "HEAD"], r"(\S+)")
    changed = _first_group(
        ["git", "status", "--porcelain", "--", "notifications", "config"], r"(\S)"
    )
    return commit if changed == "none" else f"{commit}, with changes"


def _first_group(command: Sequence[str], pattern: str) -> str:
    """The first group of the pattern in the output of a program, or `none`."""
    if shutil.which(command[0]) is None:
        return "none"
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr) if done.returncode == 0 else None
    return found[1] if found else "none"
