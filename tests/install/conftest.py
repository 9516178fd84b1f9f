"""A virtual environment with the wheel, a site in it, its Redis, and a browser."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser.conftest import browser, browsers, playwright, pytest_itemcollected
from tests.harness.servers import ROOT, RedisServer, free_port, redis_server
from tests.install.site import Site, bare_environment, run

__all__ = ["browser", "browsers", "playwright", "pytest_itemcollected"]

# Packages of the site that no extra installs: its servers, and the tools of its tests.
SITE_PACKAGES = ["gunicorn", "uvicorn-worker", "pytest-django", "pytest-asyncio"]
TYPES = ["mypy", "django-stubs[compatible-mypy]"]


UV = shutil.which("uv")
"""It does what pip does in a tenth of the time. Without it pip does."""


def new_environment(folder: Path) -> Path:
    """The `bin` of a new environment."""
    command = [UV, "venv", "--quiet", "--python"] if UV else []
    command += [sys.executable] if UV else [sys.executable, "-m", "venv"]
    run(*command, folder, cwd=ROOT, env=bare_environment(folder / "bin"))
    return folder / "bin"


def pip_install(binaries: Path, *packages: str) -> None:
    """Install packages. Without a network the test is skipped on a laptop, and fails in CI."""
    python = str(binaries / "python")
    # Python compiles what is imported, which is little of it.
    pip = [UV, "pip", "install", "--python", python] if UV else [python, "-m", "pip", "install"]
    pip += ["--quiet"] if UV else ["--quiet", "--no-compile"]
    try:
        run(*pip, *packages, cwd=ROOT, env=bare_environment(binaries))
    except AssertionError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"pip cannot fetch {packages}: {error}")


@contextmanager
def made_once(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all processes of this run share, and whether it is for this one to fill."""
    top = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        top = top.parent
    folder, done = top / name, top / f"{name}-done"
    with (top / f"{name}-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder, not done.exists()
        done.touch()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and with the wheel that was built from it."""
    with made_once(tmp_path_factory, "built") as (folder, is_ours):
        if is_ours:
            folder.mkdir()
            if UV:
                build = [UV, "build", "--quiet", "--python", sys.executable, "--out-dir"]
            else:
                binaries = new_environment(folder / "env")
                pip_install(binaries, "build")
                build = [str(binaries / "python"), "-m", "build", "--outdir"]
            run(*build, folder, ROOT, cwd=folder, env=bare_environment(folder))
    return folder


@pytest.fixture(scope="session")
def package(built: Path) -> Path:
    """The wheel."""
    [file] = built.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def binaries(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel installed, and nothing of this checkout."""
    with made_once(tmp_path_factory, "environment") as (folder, is_ours):
        if is_ours:
            packages = [f"{package}[daphne,uvicorn]", *SITE_PACKAGES, *TYPES]
            pip_install(new_environment(folder), *packages)
    return folder / "bin"


@pytest.fixture(scope="session")
def site(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with the README's edits, whose Redis does not run yet."""
    site = Site(tmp_path_factory.mktemp("sites") / "mysite", binaries, free_port())
    site.start()
    site.edit()
    site.manage("migrate", "-v0")
    return site


@pytest.fixture
def site_redis(site: Site, tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis", port=site.redis_port) as server:
        yield server
