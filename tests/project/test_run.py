"""`./run`, in a checkout whose path has spaces, on machines with and without uv and Python."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.servers import ROOT, binary

PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
DEADLINE_SECONDS = 110.0
"""A little less than a test has."""
TOOLS = ["bash", "cat", "cksum", "dirname", "env", "flock", "mkdir", "rm", "rmdir"]

MANAGE = "import os, sys; print('manage', *sys.argv[1:], 'DEBUG=' + os.environ['DEBUG'])"
PYTEST = "import sys; print('pytest', *sys.argv[1:])"
BENCH = "import sys; print('bench', *sys.argv[1:])"
UV = f"""
echo "$@" >>"$UV_LOG"
case $1 in
--version) ;;
sync) {shlex.quote(str(PYTHON))} -m venv --without-pip .venv ;;
*) exit 1 ;;
esac
"""


class Machine:
    """A checkout with the files that `./run` reads, and a PATH with a few tools."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "a check out"
        self.uv_log = folder / "uv.log"
        self._bin = folder / "bin"
        self._bin.mkdir()
        for tool in TOOLS:
            if path := shutil.which(tool):
                (self._bin / tool).symlink_to(path)
        for name in ("config", "tests", "benchmarks"):
            (self.checkout / name).mkdir(parents=True)
            (self.checkout / name / "requirements.txt").write_text("# Nothing.\n")
        shutil.copy(ROOT / "run", self.checkout)
        (self.checkout / "uv.lock").write_text("one version\n")
        (self.checkout / "manage.py").write_text(MANAGE)
        (self.checkout / "pytest.py").write_text(PYTEST)
        (self.checkout / "benchmarks" / "__main__.py").write_text(BENCH)
        self.environment = {
            "PATH": str(self._bin),
            "HOME": str(folder),
            "PYENV_ROOT": str(folder / "pyenv"),
            "UV_LOG": str(self.uv_log),
        }

    def has(self, name: str, script: str, *, folder: Path | None = None) -> None:
        file = (folder or self._bin) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def has_python(self, name: str = "python3.13", *, folder: Path | None = None) -> None:
        self.has(name, f'exec {shlex.quote(str(PYTHON))} "$@"', folder=folder)

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.checkout / "run"), *arguments],
            cwd="/",
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """The exit status, stdout and stderr."""
        process = self.start(*arguments, **variables)
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
        return process.returncode, out, err

    def syncs(self) -> list[str]:
        """The arguments of each `uv sync`."""
        lines = self.uv_log.read_text().splitlines() if self.uv_log.exists() else []
        return [line for line in lines if line.startswith("sync")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def usual(machine: Machine) -> Machine:
    """A machine with uv and a Python."""
    machine.has("uv", UV)
    machine.has_python()
    return machine


def test_help_installs_nothing(machine: Machine) -> None:
    status, out, err = machine.run("--help")
    assert (status, err) == (0, "")
    assert "./run test" in out
    assert not (machine.checkout / ".venv").exists()


def test_the_first_start_installs_the_locked_packages_and_later_starts_nothing(
    usual: Machine,
) -> None:
    status, out, err = usual.run()
    assert (status, out) == (0, "manage carillon dev DEBUG=1\n")
    assert "installing" in err
    [sync] = usual.syncs()
    assert "--locked" in sync
    assert "--inexact" in sync
    assert "--no-default-groups --group project" in sync
    assert usual.run() == (0, "manage carillon dev DEBUG=1\n", "")
    assert len(usual.syncs()) == 1


def test_other_commands_go_to_manage_py(usual: Machine) -> None:
    usual.run()
    assert usual.run("shell", "-c", "a b") == (0, "manage shell -c a b DEBUG=1\n", "")
    assert usual.run("check", DEBUG="0") == (0, "manage check DEBUG=0\n", "")


def test_the_tests_install_their_group_once(usual: Machine) -> None:
    status, out, _ = usual.run("test", "-k", "a b")
    assert (status, out) == (0, "pytest -k a b\n")
    assert "--group dev" in usual.syncs()[0]
    usual.run("test")
    usual.run()
    assert len(usual.syncs()) == 1


def test_all_tests_run_in_several_processes_and_arguments_alone_go_to_pytest(
    usual: Machine,
) -> None:
    assert usual.run("test")[:2] == (0, "pytest -n auto --dist loadfile\n")
    assert usual.run("test", "tests/unit", "-x") == (0, "pytest tests/unit -x\n", "")


def test_tests_compile_modules_only_once(usual: Machine) -> None:
    (usual.checkout / "pytest.py").write_text("import sys; print(sys.dont_write_bytecode)")
    assert usual.run("test", PYTHONDONTWRITEBYTECODE="1")[:2] == (0, "False\n")


def test_the_benchmark_installs_its_peers_once(usual: Machine) -> None:
    status, out, _ = usual.run("bench", "--quick", "a b")
    assert (status, out) == (0, "bench --quick a b\n")
    assert "--group bench" in usual.syncs()[0]
    usual.run("bench")
    usual.run()
    assert len(usual.syncs()) == 1


def test_a_changed_lock_is_installed(usual: Machine) -> None:
    usual.run()
    (usual.checkout / "uv.lock").write_text("another version\n")
    usual.run()
    assert len(usual.syncs()) == 2


@pytest.fixture(scope="module")
def by_pip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, tuple[int, str, str]]:
    """A machine with Python alone, and its first start: an environment with pip takes seconds."""
    machine = Machine(tmp_path_factory.mktemp("pip"))
    machine.has_python()
    return machine, machine.run()


def test_without_uv_pip_installs_the_same(by_pip: tuple[Machine, tuple[int, str, str]]) -> None:
    machine, first = by_pip
    assert first[:2] == (0, "manage carillon dev DEBUG=1\n")
    assert machine.run() == (0, "manage carillon dev DEBUG=1\n", "")


def test_pip_refuses_a_package_without_a_hash(
    by_pip: tuple[Machine, tuple[int, str, str]], machine: Machine
) -> None:
    machine.has_python()
    shutil.copytree(by_pip[0].checkout / ".venv", machine.checkout / ".venv", symlinks=True)
    (machine.checkout / "uv.lock").write_text("another version\n")
    (machine.checkout / "config" / "requirements.txt").write_text("sqlparse==0.5.0\n")
    status, out, err = machine.run()
    assert (status, out) == (1, "")
    assert "hash" in err.lower()


def test_a_broken_uv_is_skipped(machine: Machine) -> None:
    machine.has_python()
    machine.has("uv", "exit 127")
    machine.has("uv", UV, folder=Path(machine.environment["HOME"], ".local", "bin"))
    assert machine.run()[0] == 0
    assert len(machine.syncs()) == 1


def test_a_python_that_is_too_old_is_skipped(machine: Machine) -> None:
    machine.has("uv", UV)
    for name in ("python3.13", "python3.12", "python3"):
        machine.has(name, "exit 1")
    machine.has_python("python")
    assert machine.run()[0] == 0


def test_a_python_of_pyenv_is_found_off_the_path(machine: Machine) -> None:
    machine.has("uv", UV)
    versions = Path(machine.environment["PYENV_ROOT"], "versions")
    machine.has("python", "exit 1", folder=versions / "3.12.0" / "bin")
    machine.has_python("python", folder=versions / "3.13.0" / "bin")
    assert machine.run()[0] == 0


def test_without_a_python_uv_fetches_one(machine: Machine) -> None:
    fetch = f'[ "$*" = "python find" ] && echo {shlex.quote(str(PYTHON))} && exit'
    install = '[ "$*" = "--quiet python install" ] && exit'
    machine.has("uv", f"{fetch}\n{install}\n{UV}")
    assert machine.run()[:2] == (0, "manage carillon dev DEBUG=1\n")


@pytest.mark.parametrize("uv", [True, False])
def test_a_missing_python_is_reported_in_one_line(machine: Machine, *, uv: bool) -> None:
    if uv:
        machine.has("uv", UV)
    machine.has("python3", "exit 1")
    status, out, err = machine.run()
    assert (status, out) == (1, "")
    assert err.startswith("run: Carillon needs Python 3.12 or newer")
    assert len(err.splitlines()) == 1


def test_a_failed_installation_is_repeated(usual: Machine) -> None:
    usual.has("uv", 'case $1 in --version) ;; *) echo "no network" >&2; exit 2 ;; esac')
    status, out, err = usual.run()
    assert (status, out) == (1, "")
    assert "no network" in err
    usual.has("uv", UV)
    assert usual.run()[0] == 0


def test_an_interrupted_installation_starts_again_from_nothing(usual: Machine) -> None:
    usual.has("uv", f'{UV}\n[ $1 = --version ] || {{ echo >.venv/half; kill -9 "$PPID"; }}')
    assert usual.run()[0] == -9
    assert (usual.checkout / ".venv" / "half").exists()
    usual.has("uv", UV)
    assert usual.run()[:2] == (0, "manage carillon dev DEBUG=1\n")
    assert not (usual.checkout / ".venv" / "half").exists()
    assert not (usual.checkout / ".venv-unfinished").exists()


def test_starts_at_the_same_time_install_once(usual: Machine) -> None:
    together = [usual.start() for _ in range(4)]
    outputs = [process.communicate(timeout=DEADLINE_SECONDS)[0] for process in together]
    assert outputs == ["manage carillon dev DEBUG=1\n"] * 4
    assert len(usual.syncs()) == 1


@pytest.mark.timeout(400)
@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_fresh_checkout_starts_for_real(machine: Machine, installer: str) -> None:
    if not os.environ.get("CI"):
        pytest.skip("It installs from the network: CI=1 tries it.")
    machine.has_python()
    if installer == "uv":
        machine.has("uv", f'exec {shlex.quote(binary("uv"))} "$@"')
    for name in ("config", "demo", "notifications", "templates"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, machine.checkout / name, ignore=ignore, dirs_exist_ok=True)
    for name in ("manage.py", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, machine.checkout)
    # The settings by which this machine reaches the network.
    network = {key: value for key, value in os.environ.items() if key.startswith(("PIP_", "UV_"))}
    machine.environment |= network
    process = machine.start("check")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "no issues" in out
