"""A short soak; a longer one is run by hand: `./run soak --minutes 30`."""

import random
from pathlib import Path

import psutil
import pytest

from benchmarks.soak.memory import MIB, MemoryWatch
from tests.harness.servers import needs, redis_binary
from tests.harness.service import kill_worker, restart, running_service
from tests.harness.warm import ENVIRONMENT, run_python

SECONDS = 20
DEADLINE_SECONDS = 280.0


@pytest.mark.timeout(300)
def test_a_short_soak_is_clean() -> None:
    needs("redis-server", found=redis_binary("redis"))
    command = ["-m", "benchmarks.soak", "--minutes", str(SECONDS / 60)]
    done = run_python(*command, env=ENVIRONMENT, timeout=DEADLINE_SECONDS)
    print(done.stdout)  # noqa: T201 - the seed, where it fails
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout
    assert "streams came and went" in done.stdout


def test_a_rolling_restart_ends_although_a_worker_died_a_moment_before(tmp_path: Path) -> None:
    needs("redis-server", found=redis_binary("redis"))
    with running_service(tmp_path, "uvicorn") as service:
        before = set(service.workers())
        kill_worker(service, random.Random())
        service.wait(lambda: "worker.died" in service.log.read_text())
        restart(service)
        assert before.isdisjoint(service.workers())


def test_a_worker_that_grows_is_a_violation() -> None:
    this_process = psutil.Process()
    watch = MemoryWatch(lambda: [this_process], growth_mib=8)
    assert watch.violations() == []
    ballast = b"x" * (32 * MIB)
    [violation] = watch.violations()
    assert str(this_process.pid) in violation
    assert watch.most_grown > 8
    del ballast
