"""`carillon serve` leaves the site's own prometheus_client registry as any server does."""

import os
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.manage import DEADLINE_SECONDS, carillon_process
from tests.harness.servers import COMMANDS, RedisServer, environment, migrate, web_server

SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.harness.prometheus_settings"}


def samples(port: int) -> set[tuple[str, frozenset[str]]]:
    """The names of all samples and of their labels, as django-prometheus exposes them."""
    url = f"http://127.0.0.1:{port}/site-metrics"
    # Each kind of sample exists after one request, and each worker has a registry of its own, so
    # both requests take one connection, which stays with its worker.
    with httpx.Client(timeout=DEADLINE_SECONDS) as client:
        client.get(url)
        answer = client.get(url)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, frozenset(sample.labels))
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if not sample.name.startswith("carillon_")  # ours exist when the runtime has started
    }


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_django_prometheus_has_the_same_samples_as_under_the_plain_server(
    server: str, session_redis: RedisServer, tmp_path: Path
) -> None:
    migrate(tmp_path)
    with web_server(
        COMMANDS[server], redis_url=session_redis.url, folder=tmp_path, settings=SETTINGS
    ) as plain:
        expected = samples(plain.port)
    assert len(expected) > 40
    assert {"python_info", "process_open_fds"} <= {name for name, _ in expected}
    settings = {**SETTINGS, "PORT": "0", "CARILLON_DRAIN_SECONDS": "0"}
    given = environment(session_redis.url, tmp_path, settings)
    for workers in "1", "2":
        with carillon_process(
            "serve", "--server", server, "--workers", workers, environment=given
        ) as serve:
            assert samples(serve.port) == expected
            assert serve.end() == 0


def test_a_folder_that_the_operator_set_is_the_sites_and_ours(
    session_redis: RedisServer, tmp_path: Path
) -> None:
    migrate(tmp_path)
    folder = tmp_path / "metrics"
    folder.mkdir()
    key = "a-key-that-reads-metrics"
    settings = {**SETTINGS, "PORT": "0", "CARILLON_DRAIN_SECONDS": "0"}
    settings |= {"PROMETHEUS_MULTIPROC_DIR": str(folder), "CARILLON_METRICS_KEYS": key}
    given = environment(session_redis.url, tmp_path, settings)
    with carillon_process("serve", "--workers", "2", environment=given) as serve:
        samples(serve.port)
        assert list(folder.glob("counter_*.db"))
        answer = httpx.get(
            f"http://127.0.0.1:{serve.port}/metrics",
            headers={"Authorization": f"Bearer {key}"},
            timeout=DEADLINE_SECONDS,
        )
        names = [line.partition(" ")[0] for line in answer.text.splitlines()]
        assert names.count("carillon_streams_opened_total") == 1
        assert any(name.startswith("django_http_requests") for name in names)
        live = {str(worker.pid) for worker in serve.workers()}
        worker = serve.workers()[0]
        worker.kill()
        serve.wait_for("worker.died (pid=)")
        left = {path.stem.rpartition("_")[2] for path in folder.glob("gauge_live*.db")}
        assert str(worker.pid) not in left
        assert left <= live | {str(other.pid) for other in serve.workers()} | {str(os.getpid())}
