"""The image and `docker compose up`: their files without Docker, and the whole with it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from config.entrypoint import Superuser
from config.tokens import TokenVariables
from config.variables import Carillon, Project
from notifications.conf import Settings
from notifications.management.server.slot import RETIRE_GRACE_SECONDS
from tests.harness.event_source import subscribe
from tests.harness.proxies import trusting_anybody
from tests.harness.servers import (
    ROOT,
    RedisServer,
    daphne,
    environment,
    free_port,
    listening,
    migrate,
)
from tests.harness.warm import run_python

COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NO_REDIS = "redis://127.0.0.1:1/0"
PRINT_USERS = """
import json, os, sqlite3
database = sqlite3.connect(os.path.join(os.environ["DATA_DIR"], "db.sqlite3"))
query = "SELECT username, is_superuser, password FROM auth_user"
print(json.dumps(database.execute(query).fetchall()))
"""


def test_compose_passes_on_exactly_the_variables_that_the_settings_read() -> None:
    web = COMPOSE.partition("\n  redis:\n")[0]
    passed = set(re.findall(r"^      ([A-Z_]+):", web, re.MULTILINE))
    models = (Project, TokenVariables, Carillon, Superuser)
    read = {name for model in models for name in model.variables()}
    ours = {name for name in read if name.startswith("CARILLON_")} - {"CARILLON_LOG"}
    assert {name for name in passed if name.startswith("CARILLON_")} == ours
    source = (ROOT / "config" / "entrypoint.py").read_text()
    assert [name for name in passed - read if f'"{name}"' not in source] == []


def test_the_image_runs_unprivileged_and_installs_only_locked_packages() -> None:
    assert re.search(r"^USER carillon$", DOCKERFILE, re.MULTILINE)
    assert "--require-hashes -r config/requirements.txt" in DOCKERFILE
    assert "HEALTHCHECK" in DOCKERFILE


def test_the_builder_gets_only_the_files_that_the_image_needs() -> None:
    first, *rest = (ROOT / ".dockerignore").read_text().split()
    allowed = {line.removeprefix("!") for line in rest if line.startswith("!")}
    copied = set(re.findall(r"^COPY (\w+)", DOCKERFILE, re.MULTILINE))
    assert first == "*"
    assert {name.removesuffix(".py") for name in allowed} == copied


def test_redis_persists_and_never_evicts() -> None:
    [command] = re.findall(r"command: (redis-server .*)", COMPOSE)
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command
    assert COMPOSE.count("condition: service_healthy") == 1
    assert int(re.findall(r"nofile: (\d+)", COMPOSE)[0]) <= 20_000


def test_the_port_is_published_on_this_machine_only() -> None:
    assert "${PUBLISH_ON:-127.0.0.1}:${PORT:-8000}:${DOMAIN:+1}8000\n" in COMPOSE


def test_docker_waits_longer_than_a_drain_takes() -> None:
    [seconds] = re.findall(r"STOP_GRACE_PERIOD:-(\d+)s", COMPOSE)
    assert int(seconds) > Settings(LOG="memory").DRAIN_SECONDS + RETIRE_GRACE_SECONDS


def test_the_mounted_file_exists() -> None:
    [file] = re.findall(r"^    file: (.+)$", COMPOSE, re.MULTILINE)
    assert (ROOT / file).is_file()


def run_entrypoint(folder: Path, *command: str, **settings: str) -> str:
    """The output of the image's entrypoint and of the command that it runs."""
    files = {
        "SECRET_KEY_FILE": str(folder / "secret.key"),
        "CARILLON_PUBLISH_KEYS_FILE": str(folder / "publish.key"),
    }
    variables = environment(NO_REDIS, folder, {**files, **settings})
    for name in {"SECRET_KEY", "CARILLON_PUBLISH_KEYS"} - settings.keys():
        del variables[name]
    command = ("-m", "config.entrypoint", sys.executable, *command)
    done = run_python(*command, env=variables, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_start_creates_keys_and_prints_the_publish_key_once(tmp_path: Path) -> None:
    migrate(tmp_path)
    first = run_entrypoint(tmp_path, "-c", "print('served')")
    key = (tmp_path / "publish.key").read_text().strip()
    assert first.splitlines() == [f"Created a publish key, shown only this once: {key}", "served"]
    assert run_entrypoint(tmp_path, "-c", "print('served')") == "served\n"
    assert (tmp_path / "publish.key").read_text().strip() == key
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_start_of_the_service_prints_what_one_needs_first(tmp_path: Path) -> None:
    migrate(tmp_path)
    port = {"PUBLISHED_PORT": "8123"}
    lines = run_entrypoint(tmp_path, "-c", "pass", "serve", **port).splitlines()
    key = (tmp_path / "publish.key").read_text().strip()
    assert lines[1] == "Carillon starts at http://localhost:8123/"
    assert lines[2].startswith("  publish  curl http://localhost:8123/publish/ ")
    assert f"Bearer {key}" in lines[2]
    assert f"docker compose exec -T web cat {tmp_path / 'publish.key'}" in lines[3]
    assert lines[4].endswith("docker compose exec web python manage.py createsuperuser")
    user = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": "sesame"}
    again = run_entrypoint(tmp_path, "-c", "pass", "serve", **user, DOMAIN="example.com")
    assert key not in again
    assert "https://example.com/publish/" in again
    assert "createsuperuser" not in again


def test_keys_that_are_set_are_not_created(tmp_path: Path) -> None:
    migrate(tmp_path)
    keys = {"SECRET_KEY": "set", "CARILLON_PUBLISH_KEYS": "a-key-that-was-set"}
    assert run_entrypoint(tmp_path, "-c", "print('served')", **keys) == "served\n"
    assert not list(tmp_path.glob("*.key"))


def test_the_first_user_is_created_once_and_not_changed_later(tmp_path: Path) -> None:
    user = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": "sesame"}
    first = run_entrypoint(tmp_path, "-c", PRINT_USERS, **user).splitlines()[-1]
    [(username, is_superuser, password)] = json.loads(first)
    assert (username, is_superuser) == ("ada", True)
    assert PBKDF2PasswordHasher().verify("sesame", password)
    user["DJANGO_SUPERUSER_PASSWORD"] = "another"
    assert run_entrypoint(tmp_path, "-c", PRINT_USERS, **user).splitlines() == [first]


def healthcheck(port: int, **settings: str) -> int:
    variables = {**os.environ, "PORT": str(port), **settings}
    command = [sys.executable, "-m", "config.healthcheck"]
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, check=False
    ).returncode


def test_the_health_check_works_with_any_allowed_hosts(redis: RedisServer, tmp_path: Path) -> None:
    hosts = ".example.com,example.org"
    migrate(tmp_path)
    with daphne(redis.url, tmp_path, ALLOWED_HOSTS=hosts) as server:
        server.request("GET", "/health/live", headers={})  # which waits until it has started
        assert healthcheck(server.port, ALLOWED_HOSTS=hosts) == 0
    with listening() as listener:
        port = listener.getsockname()[1]
    assert healthcheck(port) != 0


class Compose:
    def __init__(self, name: str, port: int, **settings: str) -> None:
        self.port = port
        self._name = name
        self._environment = {
            **os.environ,
            "PORT": str(port),
            "CARILLON_PUBLIC_TOPICS": "demo.",
            "DJANGO_SUPERUSER_USERNAME": "ada",
            "DJANGO_SUPERUSER_PASSWORD": "sesame",
            **settings,
        }
        for name in ("REDIS_URL", "SECRET_KEY", "DATABASE_URL", "CARILLON_PUBLISH_KEYS"):
            self._environment.pop(name, None)

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            ["docker", "compose", "-p", self._name, *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def composed(**settings: str) -> Iterator[Compose]:
    if not os.environ.get("TEST_DOCKER"):
        pytest.skip("TEST_DOCKER=1 tries docker compose for real.")
    compose = Compose(f"carillon-test-{os.getpid()}", free_port(), **settings)
    try:
        yield compose
    finally:
        compose("--profile", "tls", "down", "--volumes", "--rmi", "local")


@pytest.fixture
def compose() -> Iterator[Compose]:
    with composed() as compose:
        yield compose


@pytest.mark.docker
@pytest.mark.timeout(300)
async def test_compose_up_serves_and_a_new_container_keeps_keys_and_log(compose: Compose) -> None:
    compose("up", "--build", "--detach", "--wait")
    [key] = re.findall(r"shown only this once: (\S+)", compose("logs", "web"))
    url = f"http://localhost:{compose.port}"
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        form = {"topic": "demo.x", "data": "before"}
        assert (await client.post("/publish/", data=form)).status_code == 201
        assert (await client.get("/")).status_code == 200
        assert "no issues" in compose(
            "exec", "-T", "web", "python", "manage.py", "check", "--deploy"
        )
        compose("down")
        compose("up", "--detach", "--wait")
        assert "shown only this once" not in compose("logs", "web")
        assert (await client.post("/publish/", data={**form, "data": "after"})).status_code == 201
    async with subscribe(compose.port, "demo.x", since="all") as stream:
        assert [(await stream.next_event()).data for _ in range(2)] == ["before", "after"]


@pytest.mark.docker
@pytest.mark.timeout(300)
def test_the_profile_tls_is_the_only_way_in_and_covers_for_the_origin() -> None:
    https = free_port()
    ports = {"HTTP_PORT": str(free_port()), "HTTPS_PORT": str(https), "DOMAIN": "localhost"}
    with composed(**ports) as compose:
        compose("--profile", "tls", "up", "--build", "--detach", "--wait")
        with httpx.Client(
            base_url=f"https://localhost:{https}", http2=True, verify=trusting_anybody()
        ) as client:
            page = client.get("/")
            assert (page.status_code, page.http_version) == (200, "HTTP/2")
            with client.stream("GET", "/events/?topic=demo.x") as stream:
                assert "stream.cursor" in next(stream.iter_text())
            with pytest.raises(httpx.TransportError):
                httpx.get(f"http://localhost:{compose.port}/", trust_env=False)
            compose("stop", "web")
            response = client.get("/events/?topic=demo.x")
            assert response.status_code == 200
            assert response.text.startswith("retry: 3000\nevent: stream.closing\n")
        [code] = re.findall(r"Exited \((\d+)\)", compose("ps", "--all", "web"))
        assert code == "0"
