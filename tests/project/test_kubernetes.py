"""docs/kubernetes.yaml: its command and environment start, and its probes are answered."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.harness.servers import ROOT, RedisServer, free_port
from tests.harness.warm import python_process

METRICS_KEY = "a-key-that-reads-metrics"
MANIFEST = ROOT / "docs" / "kubernetes.yaml"
ADDRESS = {"Host": "10.1.2.3:8000", "User-Agent": "kube-probe/1.34"}
DEADLINE_SECONDS = 60.0
SECONDS_AFTER_DRAIN = 15


def documents() -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = documents()["Deployment"]["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    [only] = pod()["containers"]
    return dict(only)


def image_variables() -> dict[str, str]:
    """The `ENV` of the image."""
    [block] = re.findall(
        r"^ENV (HOST=(?:.*\\\n)*.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    return dict(pair.split("=", 1) for pair in block.replace("\\\n", " ").split())


def run(command: list[str], variables: dict[str, str], log: Path) -> "subprocess.Popen[Any]":
    with log.open("ab") as out:
        return python_process(
            *command[1:], env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )


@dataclass
class Pod:
    port: int
    log: Path

    def get(self, path: str, **headers: str) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.get(url, headers=ADDRESS | headers, timeout=20, follow_redirects=False)


@pytest.fixture(scope="module", params=["config.settings", "tests.harness.probe_settings"])
def started(
    request: pytest.FixtureRequest,
    session_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pod]:
    """The init container has run, and the container runs. Only its port is another."""
    folder: Path = tmp_path_factory.mktemp("pod")
    secret = {
        "SECRET_KEY": "of the tests: not a secret, and long enough for the checks of Django",
        "REDIS_URL": session_redis.url,
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "CARILLON_METRICS_KEYS": METRICS_KEY,
    }
    given = {each["name"]: each["value"] for each in container()["env"]}
    port = free_port()
    variables = {"PATH": os.environ["PATH"], **image_variables(), **secret, **given}
    variables |= {"PORT": str(port), "DJANGO_SETTINGS_MODULE": request.param, "LANG": "C.UTF-8"}
    pod_ = Pod(port, folder / "log")
    [init] = pod()["initContainers"]
    assert run(init["command"], variables, pod_.log).wait(DEADLINE_SECONDS) == 0
    process = run(container()["command"], variables, pod_.log)
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(httpx.TransportError):
                if pod_.get(container()["startupProbe"]["httpGet"]["path"]).status_code == 200:
                    break
            time.sleep(0.1)
        yield pod_
        process.terminate()
        grace = pod()["terminationGracePeriodSeconds"]
        assert process.wait(grace) == 0, pod_.log.read_text()
    finally:
        process.kill()
        process.wait()


def test_the_probes_of_the_manifest_are_answered_by_address(started: Pod) -> None:
    ports = {each["name"]: each["containerPort"] for each in container()["ports"]}
    assert ports["http"] == int(image_variables().get("PORT", "8000"))
    [target] = documents()["Service"]["spec"]["ports"]
    assert target["targetPort"] in ports
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        probe = container()[name]["httpGet"]
        assert probe["port"] in ports
        answer = started.get(probe["path"])
        assert (answer.status_code, answer.headers.get("location")) == (200, None), name


def test_health_and_metrics_are_answered_by_address_and_nothing_else_is(started: Pod) -> None:
    for path in ("/health/live", "/health/ready", "/health/publish", "/health/outbox"):
        for host in ("10.1.2.3:8000", "[fd00::1]:8000", "evil.example", "a b", "localhost"):
            answer = started.get(path, Host=host)
            assert answer.status_code == 200, (path, host)
            assert not answer.cookies
            assert host not in answer.text + str(answer.headers), (path, host)
    for key, status in ((METRICS_KEY, 200), (f"{METRICS_KEY}x", 401)):
        answer = started.get("/metrics", Authorization=f"Bearer {key}")
        assert answer.status_code == status
        assert "10.1.2.3" not in answer.text + str(answer.headers)
    assert started.get("/metrics").status_code == 401
    others = ("/", "/events/?topic=x", "/publish/", "/openapi.json", "/admin/", "/health/nothing")
    for path in (*others, "/health/live/x", "/healthy/live"):
        assert started.get(path).status_code in (301, 400), path
    posted = httpx.post(f"http://127.0.0.1:{started.port}/health/live", headers=ADDRESS)
    assert posted.status_code in (301, 400)


def test_the_pod_has_time_to_drain_and_few_rights() -> None:
    [pause] = container()["lifecycle"]["preStop"]["exec"]["command"][1:]
    variables = {each["name"]: each["value"] for each in container()["env"]}
    needed = int(pause) + float(variables["CARILLON_DRAIN_SECONDS"]) + SECONDS_AFTER_DRAIN
    assert pod()["terminationGracePeriodSeconds"] > needed
    assert pod()["securityContext"]["runAsNonRoot"] is True
    # A kubelet cannot see that the user `carillon` of the image is not root.
    assert pod()["securityContext"]["runAsUser"] > 0
    for each in (*pod()["containers"], *pod()["initContainers"]):
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        assert each["securityContext"]["allowPrivilegeEscalation"] is False
        assert each["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
