"""A database that nobody has migrated: it is named before anybody meets a 503."""

import subprocess
from pathlib import Path

import pytest

from tests.harness.manage import DEADLINE_SECONDS, CarillonProcess
from tests.harness.servers import (
    DATABASE,
    START_DEADLINE_SECONDS,
    RedisServer,
    environment,
    manage,
    uvicorn,
    wait_until_ready,
)
from tests.harness.warm import run_python
from tests.unit.publishing.outbox.reading import wait_until

EVENT = {"topic": "demo.hello", "data": 1}
TABLES = "carillon_apikey, django_session, auth_user, carillon_inbox_"


def serve(variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """`carillon serve`, which has to end by itself."""
    return run_python("manage.py", "carillon", "serve", env=variables, timeout=DEADLINE_SECONDS)


@pytest.mark.parametrize("made", ["nothing", "a database without tables"])
def test_serve_does_not_start_without_its_tables_and_names_the_command(
    redis: RedisServer, tmp_path: Path, made: str
) -> None:
    folder = tmp_path / "data"
    if made != "nothing":
        folder.mkdir()
        (folder / DATABASE).touch()
    variables = environment(redis.url, folder, {"PORT": "0"})
    refused = serve(variables)
    assert refused.returncode == 1
    assert f"no table {TABLES}" in refused.stderr
    assert "run `python manage.py migrate` first" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "Carillon serves" not in refused.stdout
    manage("migrate", "-v0", redis_url=redis.url, folder=folder)
    started = CarillonProcess("serve", environment=variables)
    try:
        assert started.port
    finally:
        assert started.end() == 0


@pytest.mark.parametrize("outbox", ["off", "in-process"])
def test_serve_names_the_outbox_only_where_it_is_used(
    redis: RedisServer, tmp_path: Path, outbox: str
) -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.harness.no_inbox_settings"}
    variables = environment(redis.url, tmp_path, {**settings, "CARILLON_OUTBOX": outbox})
    named = "carillon_outboxevent, carillon_outboxlease:" in serve(variables).stderr
    assert named is (outbox != "off")


@pytest.mark.parametrize("site", ["no_database_settings", "no_tables_settings"])
def test_a_site_that_has_no_database_for_us_is_served(
    redis: RedisServer, tmp_path: Path, site: str
) -> None:
    settings = {"PORT": "0", "DJANGO_SETTINGS_MODULE": f"tests.harness.{site}"}
    started = CarillonProcess("serve", environment=environment(redis.url, tmp_path, settings))
    try:
        assert started.port
    finally:
        assert started.end() == 0


def test_a_database_that_cannot_be_reached_does_not_keep_serve_from_starting(
    redis: RedisServer, tmp_path: Path
) -> None:
    settings = {"PORT": "0", "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}
    started = CarillonProcess("serve", environment=environment(redis.url, tmp_path, settings))
    try:
        assert started.port
    finally:
        assert started.end() == 0


def test_a_process_is_not_ready_until_its_tables_are_there(
    redis: RedisServer, tmp_path: Path
) -> None:
    with uvicorn(redis.url, tmp_path) as web:
        (tmp_path / DATABASE).unlink()

        def lacks_tables() -> bool:
            status, problem = web.get("/health/ready")
            assert (status, problem["type"]) == (503, "urn:carillon:problem:not-ready")
            return "run `python manage.py migrate` first" in problem["detail"]

        # Until the window of the log is loaded, that is the reason.
        wait_until(lacks_tables, deadline=START_DEADLINE_SECONDS)
        assert web.get("/health/live")[0] == 200
        manage("migrate", "-v0", redis_url=redis.url, folder=tmp_path)
        wait_until_ready(web.port)
        (tmp_path / DATABASE).unlink()  # an outage from now on, which ends no stream
        assert web.get("/health/ready")[0] == 200
        assert web.publish(EVENT)[0] == 201
