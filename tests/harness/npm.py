"""The npm packages that tests use: installed once, in `tests/npm/node_modules`.

`python -m tests.harness.npm` installs them, as `.ci/run` does before the tests.
"""

import fcntl
import subprocess
from functools import cache
from pathlib import Path

from tests.harness.servers import ROOT, binary

FOLDER = ROOT / "tests" / "npm"
PACKAGES = FOLDER / "node_modules"
LOCK = FOLDER / "package-lock.json"
INSTALL_DEADLINE_SECONDS = 300.0


@cache
def npm_packages() -> Path:
    """The folder `node_modules`, with what `tests/npm/package-lock.json` says.

    Processes that run tests take turns, and only the first one installs.
    """
    npm = binary("npm")
    with (FOLDER / "package.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        installed = PACKAGES / ".installed-lock.json"
        lock = LOCK.read_bytes()
        if not installed.exists() or installed.read_bytes() != lock:
            command = [npm, "ci", "--prefer-offline", "--loglevel=error"]
            subprocess.run(command, cwd=FOLDER, check=True, timeout=INSTALL_DEADLINE_SECONDS)
            installed.write_bytes(lock)
    return PACKAGES


def npm_program(name: str) -> str:
    """The path of a program that one of the packages has."""
    return str(npm_packages() / ".bin" / name)


if __name__ == "__main__":
    npm_packages()
