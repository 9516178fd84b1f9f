"""`carillon.js` and `bell.js`: the files that pages load are what their modules make."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness.npm import npm_packages, npm_program
from tests.harness.servers import ROOT, binary

BUILT = ROOT / "notifications" / "static" / "carillon"
SOURCE = ROOT / "npm"
MAX_COMPRESSED_BYTES = {"carillon.js": 6 * 1024, "bell.js": 10 * 1024}
"""The style of the bell takes 1,900 of them."""
DEADLINE_SECONDS = 120.0


def test_the_files_of_pages_are_built_from_the_modules_and_are_small(tmp_path: Path) -> None:
    packages = npm_packages()
    command = [binary("node"), str(SOURCE / "build.mjs"), str(tmp_path)]
    subprocess.run(command, cwd=packages.parent, check=True, timeout=DEADLINE_SECONDS)
    for name, limit in MAX_COMPRESSED_BYTES.items():
        code = (BUILT / name).read_bytes()
        compressed = len(gzip.compress(code, 9, mtime=0))
        print(f"{name}: {len(code)} bytes, {compressed} compressed by gzip")  # noqa: T201 - for the log
        assert (tmp_path / name).read_bytes() == code, "run npm/build.mjs"
        assert (tmp_path / f"{name}.map").read_bytes() == (BUILT / f"{name}.map").read_bytes()
        assert compressed <= limit


def test_the_package_for_npm_has_the_modules_their_types_and_no_dependency(tmp_path: Path) -> None:
    package = json.loads((SOURCE / "package.json").read_text())
    assert "dependencies" not in package
    folder = tmp_path / "node_modules" / package["name"]
    for name in ("src", "carillon.d.ts", "package.json"):
        source = SOURCE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, _made(folder) / name)
    script = "import { carillon, ResumingEventSource } from 'django-carillon';\n" + (
        "const live = carillon('/events/', { topics: ['orders.42'] });\n"
        "live.on<{ paid: boolean }>('paid', ({ data }) => console.log(data.paid));\n"
        "live.on('stream.status', ({ data }) => data.status === 'live');\n"
        "const source: EventSource = new ResumingEventSource('/events/');\n"
        "live.snapshot('/state/', (state) => state).snapshot(async () => fetch('/state/'));\n"
        "// @ts-expect-error: status is read only\n"
        "live.status = 'live';\n"
    )
    (tmp_path / "page.mts").write_text(script)
    options = ("--noEmit", "--strict", "--target", "es2022", "--module", "nodenext")
    checked = subprocess.run(
        [npm_program("tsc"), *options, "page.mts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    if checked.returncode:
        pytest.fail(checked.stdout + checked.stderr)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("name", ["bell_rows", "push_worker"])
def test_what_needs_no_browser_is_right_in_any_order_of_things(name: str) -> None:
    command = [binary("node"), "--test", str(Path(__file__).with_name(f"{name}.mjs"))]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    if done.returncode:
        pytest.fail(done.stdout + done.stderr)
