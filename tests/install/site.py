"""A new `startproject` in its own environment, edited as the README says."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.install import example, text

DEADLINE_SECONDS = 240.0

# Lines of the site before the edits.
STOCK = "from django.core.asgi import get_asgi_application"
LAST_IMPORT = "from django.shortcuts import render"
ORDER = "    order = SimpleNamespace(owner=request.user)"
SCRIPT = "<script>\n</script>\n"

PROJECT_VARIABLES = (
    "DEBUG",
    "SECRET_KEY",
    "REDIS_URL",
    "DATA_DIR",
    "HOST",
    "PORT",
    "WEB_CONCURRENCY",
)
PYTHON_VARIABLES = ("DJANGO_SETTINGS_MODULE", "PYTHONPATH", "VIRTUAL_ENV")


def bare_environment(binaries: Path) -> dict[str, str]:
    """Environment variables without those of this checkout, and with these binaries first."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in PROJECT_VARIABLES + PYTHON_VARIABLES
        and not name.startswith(("CARILLON_", "PYTEST_", "COV_"))
    }
    return {**variables, "PATH": f"{binaries}:{variables['PATH']}", "PYTHONUNBUFFERED": "1"}


def run(*command: str | Path, cwd: Path, env: dict[str, str]) -> str:
    """The output of a command, which has to succeed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEADLINE_SECONDS,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


@dataclass
class Site:
    """A project `mysite` in `folder`, run by the binaries of a virtual environment."""

    folder: Path
    binaries: Path
    redis_port: int

    @property
    def environment(self) -> dict[str, str]:
        return bare_environment(self.binaries)

    def run(self, *command: str, **environment: str) -> str:
        return run(*command, cwd=self.folder, env={**self.environment, **environment})

    def manage(self, *arguments: str, **environment: str) -> str:
        return self.run("python", "manage.py", *arguments, **environment)

    def start(self) -> None:
        """Create the site as it is before Carillon."""
        self.folder.mkdir()
        self.run("django-admin", "startproject", "mysite", ".")
        self._write("mysite/views.py", example.VIEWS)
        self._write("mysite/urls.py", example.URLS)
        self._write("mysite/settings.py", self.read("mysite/settings.py") + example.SETTINGS)
        (self.folder / "templates").mkdir()
        for name, content in example.TEMPLATES.items():
            self._write(f"templates/{name}", content)

    def edit(self) -> None:
        """Do what the README says."""
        edits = text.edits()
        settings = edits.settings.replace(text.REDIS, f"redis://localhost:{self.redis_port}/1")
        assert settings != edits.settings
        imported, publish = edits.code.strip().split("\n\n")
        self._append("mysite/settings.py", settings)
        self._replace("mysite/asgi.py", (STOCK, edits.asgi.strip()))
        self._append("mysite/urls.py", edits.urls)
        self._replace(
            "mysite/views.py",
            (LAST_IMPORT, f"{LAST_IMPORT}\n\n{imported}"),
            (ORDER, f"{ORDER}\n    {publish}"),
        )
        self._replace("templates/page.html", (SCRIPT, edits.template))

    def add_tests(self) -> None:
        self._write("mysite/streams.py", example.STREAMS)
        self._write("mysite/tests.py", example.TESTS)
        self._write("conftest.py", example.CONFTEST)
        self._write("test_orders.py", example.PYTEST_TESTS)
        self._write("pytest.ini", example.PYTEST_INI)
        self._write("mypy.ini", example.MYPY_INI)

    def keep_in_memory(self) -> dict[str, str]:
        """The environment of a site without Redis."""
        self._write("mysite/memory_settings.py", example.MEMORY_SETTINGS)
        return {"DJANGO_SETTINGS_MODULE": "mysite.memory_settings"}

    def stay_stock(self) -> dict[str, str]:
        """The environment of a site whose asgi.py was not edited."""
        stock = self.read("mysite/asgi.py").replace(text.edits().asgi.strip(), STOCK)
        self._write("mysite/stock_asgi.py", stock)
        self._write("mysite/stock_settings.py", example.STOCK_SETTINGS)
        return {"DJANGO_SETTINGS_MODULE": "mysite.stock_settings"}

    def stay_on_wsgi(self) -> dict[str, str]:
        """The environment of a site that follows the docs for WSGI."""
        documented = text.block("python", holding="SILENCED_SYSTEM_CHECKS")
        self._write("mysite/wsgi_settings.py", example.WSGI_SETTINGS + documented)
        return {"DJANGO_SETTINGS_MODULE": "mysite.wsgi_settings"}

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def _append(self, name: str, content: str) -> None:
        self._write(name, f"{self.read(name)}\n{content}")

    def _replace(self, name: str, *replacements: tuple[str, str]) -> None:
        content = self.read(name)
        for old, new in replacements:
            assert content.count(old) == 1, (name, old)
            content = content.replace(old, new)
        self._write(name, content)

    def _write(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content)
