"""A worker holds no memory, descriptor or task of the streams that it has served.

Without a collector that comes often, whatever is left in cycles would stay: it was 6 KiB for each
stream under uvicorn, and 12 under Daphne.
"""

import time

import httpx
import psutil
import pytest

from tests.harness.churn import churn
from tests.harness.manage import DEADLINE_SECONDS, carillon_process

PATH = "/events/?topic=demo.a"
WARM_UP = 1_000
STREAMS = 3_000
AT_A_TIME = 1_000
POLL_SECONDS = 0.1
GROWTH = 1.1
ROUNDS = 3
"""What is left of streams grows with each; what a busy machine lets pile up at once does not."""
SPARE = 5
"""Descriptors and tasks of what else runs in a process."""


def memory(worker: psutil.Process) -> int:
    """The bytes that only this process has."""
    return int(worker.memory_full_info().uss)


def held(port: int, worker: psutil.Process) -> dict[str, int]:
    """What the process holds, once it watches no socket any more."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        answer = httpx.get(f"http://127.0.0.1:{port}/held/", timeout=DEADLINE_SECONDS).json()
        if not answer["sockets"]:
            return {"descriptors": worker.num_fds(), "tasks": answer["tasks"]}
        assert time.monotonic() < deadline, answer
        time.sleep(POLL_SECONDS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_memory_comes_back_when_streams_end(server: str, project: dict[str, str]) -> None:
    environment = {**project, "DJANGO_SETTINGS_MODULE": "tests.harness.held_settings"}
    with carillon_process(
        "serve", "--server", server, "--workers", "1", environment=environment
    ) as serve:
        churn(serve.port, PATH, streams=WARM_UP, batch=AT_A_TIME)
        [worker] = serve.workers()
        bytes_held, held_before = [memory(worker)], held(serve.port, worker)
        for _ in range(ROUNDS):
            churn(serve.port, PATH, streams=STREAMS, batch=AT_A_TIME)
            held_after = held(serve.port, worker)
            for name, number in held_after.items():
                assert number <= held_before[name] + SPARE, (held_before, held_after)
            bytes_held.append(memory(worker))
            if bytes_held[-1] < GROWTH * bytes_held[-2]:
                break
        else:
            pytest.fail(f"It grows each time: {bytes_held}")
        assert serve.end() == 0
