"""The memory of a worker does not grow with the streams that it has served.

Without a collector that comes often, whatever is left in cycles would stay: it was 6 KiB for each
stream under uvicorn, and 12 under Daphne.
"""

import psutil
import pytest

from tests.harness.churn import churn
from tests.harness.manage import carillon_process

PATH = "/events/?topic=demo.a"
WARM_UP = 2_000
STREAMS = 6_000
GROWTH = 1.1


def memory(worker: psutil.Process) -> int:
    """The bytes that only this process has."""
    return int(worker.memory_full_info().uss)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_memory_comes_back_when_streams_end(server: str, project: dict[str, str]) -> None:
    with carillon_process(
        "serve", "--server", server, "--workers", "1", environment=project
    ) as serve:
        churn(serve.port, PATH, streams=WARM_UP)
        [worker] = serve.workers()
        before = memory(worker)
        churn(serve.port, PATH, streams=STREAMS)
        assert memory(worker) < GROWTH * before
        assert serve.end() == 0
