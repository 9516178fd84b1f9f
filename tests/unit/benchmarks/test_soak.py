"""A short soak; a longer one is run by hand: `./run soak --minutes 30`."""

import subprocess
import sys

import pytest

from tests.harness.servers import ROOT, needs, redis_binary

SECONDS = 20


@pytest.mark.timeout(300)
def test_a_short_soak_is_clean() -> None:
    needs("redis-server", found=redis_binary("redis"))
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", str(SECONDS / 60)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)  # noqa: T201 - the seed, where it fails
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout
