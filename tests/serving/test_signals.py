"""Signals to `carillon serve`: deploys that fail, stops in the middle of one, and Ctrl-C twice."""

import asyncio
import os
import pty
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.harness.event_source import subscribe
from tests.harness.manage import DEADLINE_SECONDS, CarillonProcess, carillon_process

SETTINGS = "from config.settings import *\n"
BROKEN = {
    "raise RuntimeError('this deploy is broken')\n": "RuntimeError: this deploy is broken",
    "ROOT_URLCONF = 'no_urls'\n": "ModuleNotFoundError: No module named 'no_urls'",
}
"""What a deploy adds to the settings, and the error that it ends with."""


class Deployed:
    """A project whose settings file a deploy may change."""

    def __init__(self, folder: Path, project: dict[str, str]) -> None:
        self._file = folder / "deployed.py"
        self.deploy(SETTINGS)
        path = os.pathsep.join([str(folder), project["PYTHONPATH"]])
        self.environment = {
            **project,
            "DJANGO_SETTINGS_MODULE": "deployed",
            "PYTHONPATH": path,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def deploy(self, code: str) -> None:
        self._file.write_text(code)


@pytest.fixture
def deployed(tmp_path: Path, project: dict[str, str]) -> Deployed:
    return Deployed(tmp_path, project)


@pytest.fixture
def serve(deployed: Deployed) -> Iterator[CarillonProcess]:
    with carillon_process("serve", "--workers", "2", environment=deployed.environment) as serve:
        assert serve.port
        for _ in range(2):
            serve.wait_for("(window.loaded)")
        yield serve


def is_live(serve: CarillonProcess) -> bool:
    url = f"http://127.0.0.1:{serve.port}/health/live"
    return httpx.get(url, timeout=DEADLINE_SECONDS).is_success


def pids(serve: CarillonProcess) -> set[int]:
    return {worker.pid for worker in serve.workers()}


@pytest.mark.parametrize(("broken", "error"), BROKEN.items(), ids=["settings", "urls"])
async def test_hup_with_code_that_does_not_start_leaves_the_old_workers_serving(
    serve: CarillonProcess, deployed: Deployed, broken: str, error: str
) -> None:
    before = pids(serve)
    async with subscribe(serve.port, "demo.x") as stream:
        assert (await stream.next()).type == "stream.cursor"
        deployed.deploy(SETTINGS + broken)
        serve.popen.send_signal(signal.SIGHUP)
        assert serve.wait_for("restart.failed .*(it ended)")
        assert pids(serve) == before
        for _ in range(8):
            assert await asyncio.to_thread(is_live, serve)
        deployed.deploy(SETTINGS)
        serve.popen.send_signal(signal.SIGHUP)
        for _ in before:
            serve.wait_for("(worker.replaced)")
        closing = [event.data async for event in stream if event.type == "stream.closing"]
        assert closing == ['{"reason":"draining"}']
    assert serve.end() == 0
    assert serve.output.count("restart.failed") == 1
    assert serve.output.count(error) == 1


@pytest.mark.parametrize("is_broken", [False, True])
def test_term_during_hup_ends_the_server(
    serve: CarillonProcess, deployed: Deployed, is_broken: bool
) -> None:
    old = pids(serve)
    if is_broken:
        deployed.deploy(SETTINGS + "import time; time.sleep(300)\n")
    serve.popen.send_signal(signal.SIGHUP)
    while not (new := [worker for worker in serve.workers() if worker.pid not in old]):
        assert serve.popen.poll() is None
    workers = serve.workers()
    assert serve.end() == 0
    assert psutil.wait_procs([*workers, *new], DEADLINE_SECONDS)[1] == []
    assert "Traceback" not in serve.output
    assert "restart.failed" not in serve.output


async def test_the_first_ctrl_c_drains_and_the_second_ends_at_once(
    project: dict[str, str],
) -> None:
    """In a terminal, whose Ctrl-C goes to all processes in its foreground."""
    environment = {**project, "CARILLON_DRAIN_SECONDS": "300"}
    controller, terminal = pty.openpty()
    try:
        with carillon_process("serve", environment=environment, terminal=terminal) as serve:
            async with subscribe(serve.port, "demo.x") as stream:
                assert (await stream.next()).type == "stream.cursor"
                workers = serve.workers()
                os.write(controller, b"\x03")
                serve.wait_for("(drain.started)")
                assert await asyncio.to_thread(is_live, serve)
                os.write(controller, b"\x03")
                assert serve.wait() == 128 + signal.SIGINT
            assert psutil.wait_procs(workers, DEADLINE_SECONDS)[1] == []
            assert "Traceback" not in serve.output
    finally:
        os.close(controller)
        os.close(terminal)
