"""A virtual environment with the wheel, a site in it, its Redis, and a browser."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import browser, browsers, playwright, pytest_itemcollected
from tests.harness.servers import ROOT, RedisServer, free_port, redis_server
from tests.install.site import Site, bare_environment, run

__all__ = ["browser", "browsers", "playwright", "pytest_itemcollected"]

# Packages of the site that no extra installs: its servers, and the tools of its tests.
SITE_PACKAGES = ["gunicorn", "uvicorn-worker", "pytest-django", "pytest-asyncio"]
TYPES = ["mypy", "django-stubs[compatible-mypy]"]


def pip_install(*packages: str, env: dict[str, str]) -> None:
    """Install packages. Without a network the test is skipped on a laptop, and fails in CI."""
    # Python compiles what is imported, which is little of it.
    command = ["python", "-m", "pip", "install", "--quiet", "--no-compile", *packages]
    try:
        run(*command, cwd=ROOT, env=env)
    except AssertionError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"pip cannot fetch {packages}: {error}")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and with the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("built")
    env = bare_environment(folder / "env" / "bin")
    run(sys.executable, "-m", "venv", folder / "env", cwd=folder, env=env)
    pip_install("build", env=env)
    run("python", "-m", "build", "--outdir", folder, ROOT, cwd=folder, env=env)
    return folder


@pytest.fixture(scope="session")
def package(built: Path) -> Path:
    """The wheel."""
    [file] = built.glob("*.whl")
    return file


@pytest.fixture(scope="session")
def binaries(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel installed, and nothing of this checkout."""
    folder = tmp_path_factory.mktemp("environment")
    env = bare_environment(folder / "bin")
    run(sys.executable, "-m", "venv", folder, cwd=folder, env=env)
    packages = [f"{package}[daphne,uvicorn]", *SITE_PACKAGES, *TYPES]
    pip_install(*packages, env=env)
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
