"""`carillon serve` where nothing can be written: a read-only root file system, and no `/tmp`."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator

import httpx
import pytest

from tests.harness.manage import DEADLINE_SECONDS, CarillonProcess, carillon_process
from tests.harness.servers import PUBLISH_KEY, needs

READ_ONLY = """
mount --make-rprivate /
for folder in $(awk '{print $2}' /proc/mounts | sort -r); do
    case $folder in /proc*|/sys*) ;; *) mount -o remount,bind,ro "$folder" 2>/dev/null ;; esac
done
if touch /tmp/writable /dev/shm/writable /var/tmp/writable 2>/dev/null; then exit 99; fi
exec "$@"
"""
WRAPPER = ("unshare", "--mount", "sh", "-c", READ_ONLY, "sh")
LARGE = [{"topic": "demo.large", "data": "x" * 60_000}] * 50


def can_unshare() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and not subprocess.run([unshare, "--mount", "true"]).returncode


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def serve(request: pytest.FixtureRequest, project: dict[str, str]) -> Iterator[CarillonProcess]:
    needs("unshare, as root,", found=can_unshare())
    environment = {**project, "CARILLON_MAX_REQUEST_BYTES": "5000000", "TMPDIR": "/nowhere"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    with carillon_process(
        *("serve", "--workers", "2", "--server", request.param),
        environment=environment,
        wrapper=WRAPPER,
    ) as serve:
        assert serve.port
        for _ in range(2):
            serve.wait_for("(window.loaded)")
        for worker in serve.workers():  # what the test is about
            view = f"/proc/{worker.pid}/root/tmp"
            assert os.statvfs(view).f_flag & os.ST_RDONLY
        yield serve
        assert serve.end() == 0
        assert "Traceback" not in serve.output, serve.output


def post(serve: CarillonProcess, path: str, body: bytes) -> httpx.Response:
    headers = {"Authorization": f"Bearer {PUBLISH_KEY}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{serve.port}{path}"
    return httpx.post(url, content=body, headers=headers, timeout=DEADLINE_SECONDS)


def test_a_batch_of_3_mib_is_published(serve: CarillonProcess) -> None:
    body = json.dumps(LARGE).encode()
    assert len(body) > 2_900_000
    for _ in range(4):  # by either worker
        answer = post(serve, "/publish/", body)
        assert answer.status_code == 201, answer.text


def test_a_body_that_is_too_large_gets_413(serve: CarillonProcess) -> None:
    try:
        answer = post(serve, "/publish/", b" " * 5_000_001)
    except httpx.WriteError:  # the answer came, and was lost with the connection's end
        return
    assert answer.status_code == 413
    assert answer.json()["type"].endswith(":too-large")
