"""The libraries of the notes page, from the packages of the tests: no test needs a foreign host."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from tests.harness.npm import npm_packages
from tests.harness.servers import ROOT, binary, needs

STARHTML = "starhtml==0.7.0"
"""A wheel that brings Datastar 1.0.1, with two patches that concern neither streams nor patches of
elements. Of Datastar itself, npm has only versions from before its present events."""
DEADLINE_SECONDS = 120.0


def put_libraries(static: Path) -> None:
    """As `npm --prefix demo ci` and a visitor who saves Datastar by hand do."""
    folder = static / "demo" / "lib"
    command = [binary("node"), str(ROOT / "demo" / "copy_libraries.mjs")]
    subprocess.run([*command, str(npm_packages()), str(folder)], check=True, timeout=60)
    shutil.copyfile(datastar(), folder / "datastar.js")


@cache
def datastar() -> Path:
    """The file, which uv fetches unless its cache has it."""
    uv = shutil.which("uv")
    needs("uv", found=uv)
    folder = Path(mkdtemp(prefix="carillon-datastar-"))
    fetch = [str(uv), "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    fetch += ["--target", str(folder), STARHTML]
    subprocess.run(fetch, check=True, timeout=DEADLINE_SECONDS, stdin=subprocess.DEVNULL)
    [script] = folder.glob("starhtml/static/js/datastar-core.js")
    return script
