"""The project's settings, from environment variables."""

import os
import runpy
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from config.keys import read_or_create_secret
from notifications.conf import Settings
from tests.harness.servers import ROOT, RedisServer, manage, migrate
from tests.harness.tokens import AUDIENCE, ISSUER, SECRET, jwt_setting, key_pair

PRODUCTION = {
    "SECRET_KEY": "fifty random characters, or as good as that: 0123456789",
    "REDIS_URL": "redis://redis.internal:6379/0",
}


class Environment:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._folder = folder

    def settings(self, **variables: str) -> dict[str, Any]:
        """The settings with these environment variables and no others."""
        environment = {"DATA_DIR": str(self._folder), **variables}
        self._monkeypatch.setattr(os, "environ", environment)
        return runpy.run_path(str(ROOT / "config" / "settings.py"))


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path / "data")


def test_development_needs_nothing_and_keeps_its_secrets(
    environment: Environment, tmp_path: Path
) -> None:
    first, second = environment.settings(DEBUG="1"), environment.settings(DEBUG="1")
    for key in ("publish.key", "secret.key", "admin.password"):
        file = tmp_path / "data" / key
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert first["SECRET_KEY"] == second["SECRET_KEY"]
    assert first["CARILLON"] == second["CARILLON"]
    assert first["CARILLON"]["LOG"] == "embedded"
    assert first["CARILLON"]["PUBLIC_TOPICS"] == ["demo."]
    assert first["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    Settings.model_validate(first["CARILLON"])


def test_processes_that_start_together_agree_on_a_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = pool.map(
            lambda _: read_or_create_secret(tmp_path / "new" / "key", size=24), range(8)
        )
    assert len(set(secrets)) == 1
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["key"]


def test_production_has_no_debug_mode_and_no_permissive_defaults(
    environment: Environment, tmp_path: Path
) -> None:
    settings = environment.settings(**PRODUCTION)
    assert settings["DEBUG"] is False
    assert settings["CARILLON"] == {"LOG": "redis", "REDIS_URL": PRODUCTION["REDIS_URL"]}
    assert settings["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert "DEVELOPMENT_PASSWORD" not in settings
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("missing", PRODUCTION)
def test_production_is_refused_without(environment: Environment, missing: str) -> None:
    variables = {name: value for name, value in PRODUCTION.items() if name != missing}
    with pytest.raises(ImproperlyConfigured, match=f"^{missing} is not set: .*DEBUG=1"):
        environment.settings(**variables)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "perhaps"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("WEB_CONCURRENCY", "0"),
        ("ALLOWED_HOSTS", "example.com, *"),
        ("REDIS_URL", "http://redis:6379"),
        ("REDIS_URL", "redis+proxy://:sesame@redis:6379"),
        ("DATABASE_URL", "carillon.db"),
        ("DATABASE_URL", "oops://ada:sesame@db/carillon"),
        ("DATABASE_URL", "postgres://ada:sesame@db:port/carillon"),
        ("CARILLON_HISTORY_EVENTS", "-1"),
        ("CARILLON_HISTORY_BYTES", "64MB"),
        ("CARILLON_HISTORY_AGE", "1.5"),
        ("CARILLON_KEEPALIVE", "20s"),
        ("CARILLON_DRAIN_SECONDS", "-1"),
        ("CARILLON_MAX_EVENT_BYTES", "1_000"),
        ("CARILLON_MAX_STREAMS", "-1"),
        ("LOG_FORMAT", "yaml"),
        ("SECRET_KEY_FILE", "/no/such/file"),
    ],
)
def test_an_invalid_value_is_refused_with_its_name(
    environment: Environment, name: str, value: str
) -> None:
    valid = PRODUCTION if not name.endswith("_FILE") else {}
    with pytest.raises(ImproperlyConfigured, match=f"^{name}") as refusal:
        environment.settings(**{**valid, name: value})
    assert "sesame" not in str(refusal.value)


def test_every_setting_of_carillon_has_a_variable(environment: Environment) -> None:
    settings = environment.settings(
        **PRODUCTION,
        CARILLON_PUBLISH_KEYS="first-key-of-two-keys, second-key-of-two-keys",
        CARILLON_PUBLIC_TOPICS="news,demo.",
        CARILLON_CORS_ALLOWED_ORIGINS="https://app.example.com",
        CARILLON_HISTORY_EVENTS="5",
        CARILLON_HISTORY_BYTES="100000",
        CARILLON_HISTORY_AGE="60",
        CARILLON_KEEPALIVE="7.5",
        CARILLON_DRAIN_SECONDS="0",
        CARILLON_MAX_EVENT_BYTES="1000",
        CARILLON_METRICS_KEYS="a-key-that-reads-metrics",
        CARILLON_REQUEST_TIMEOUT="7.5",
        CARILLON_MAX_REQUEST_BYTES="100000",
        CARILLON_MAX_STREAMS="0",
        CARILLON_MAX_STREAMS_PER_ADDRESS="20",
        CARILLON_MAX_STREAMS_PER_USER="30",
        CARILLON_MAX_STREAM_AGE="7.5",
        CARILLON_PUBLISH_RATE="0.5",
        CARILLON_TRUSTED_PROXIES="10.0.0.0/8, 192.0.2.1,fd00::1",
        CARILLON_LINK_AGE="300",
        CARILLON_QUERY_TOKENS="1",
    )
    assert Settings.model_validate(settings["CARILLON"]) == Settings(
        LOG="redis",
        REDIS_URL=PRODUCTION["REDIS_URL"],
        PUBLISH_KEYS=("first-key-of-two-keys", "second-key-of-two-keys"),
        PUBLIC_TOPICS=("news", "demo."),
        CORS_ALLOWED_ORIGINS=("https://app.example.com",),
        HISTORY_EVENTS=5,
        HISTORY_BYTES=100_000,
        HISTORY_AGE=60,
        KEEPALIVE=7.5,
        DRAIN_SECONDS=0,
        MAX_EVENT_BYTES=1000,
        METRICS_KEYS=("a-key-that-reads-metrics",),
        REQUEST_TIMEOUT=7.5,
        MAX_REQUEST_BYTES=100_000,
        MAX_STREAMS=0,
        MAX_STREAMS_PER_ADDRESS=20,
        MAX_STREAMS_PER_USER=30,
        MAX_STREAM_AGE=7.5,
        PUBLISH_RATE=0.5,
        TRUSTED_PROXIES=tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.1", "fd00::1"))),
        LINK_AGE=300,
        QUERY_TOKENS=True,
    )


TOKENS = {"CARILLON_JWT_AUDIENCE": AUDIENCE, "CARILLON_JWT_ISSUER": ISSUER}


def test_a_secret_configures_tokens(environment: Environment) -> None:
    settings = environment.settings(**PRODUCTION, **TOKENS, CARILLON_JWT_SECRET=SECRET)
    keys = {"default": {"ALGORITHM": "HS256", "KEY": SECRET}}
    assert settings["CARILLON"]["JWT"] == jwt_setting(KEYS=keys, LEEWAY=0)
    Settings.model_validate(settings["CARILLON"])


def test_a_public_key_configures_tokens(environment: Environment, tmp_path: Path) -> None:
    pem = key_pair("ES256").public_pem
    file = tmp_path / "issuer.pem"
    file.write_text(pem)
    options = {"ALGORITHM": "ES256", "KEY_ID": "2026", "LEEWAY": "5"}
    variables = TOKENS | {f"CARILLON_JWT_{name}": value for name, value in options.items()}
    for name, value in {"_FILE": str(file), "": pem.replace("\n", "\\n")}.items():
        variables[f"CARILLON_JWT_PUBLIC_KEY{name}"] = value
        carillon = environment.settings(**PRODUCTION, **variables)["CARILLON"]
        assert carillon["JWT"]["KEYS"]["2026"]["KEY"].strip() == pem.strip()
        Settings.model_validate(carillon)
        assert carillon["JWT"]["LEEWAY"] == 5


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({**TOKENS, "CARILLON_JWT_ISSUER": ""}, "CARILLON_JWT_ISSUER is not set"),
        ({**TOKENS, "CARILLON_JWT_AUDIENCE": " "}, "CARILLON_JWT_AUDIENCE is not set"),
        ({**TOKENS, "CARILLON_JWT_PUBLIC_KEY": "pem"}, "both set"),
        ({**TOKENS, "CARILLON_JWT_LEEWAY": "soon"}, "CARILLON_JWT_LEEWAY"),
    ],
)
def test_incomplete_token_settings_are_refused(
    environment: Environment, variables: dict[str, str], reason: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=reason) as refusal:
        environment.settings(**PRODUCTION, **variables, CARILLON_JWT_SECRET=SECRET)
    assert SECRET not in str(refusal.value)


def test_the_variable_names_of_platforms_are_supported(environment: Environment) -> None:
    settings = environment.settings(
        **PRODUCTION,
        HOST="0.0.0.0",
        PORT="80",
        WEB_CONCURRENCY="4",
        ALLOWED_HOSTS="example.com,.example.org",
        CSRF_TRUSTED_ORIGINS="https://example.com",
        DATABASE_URL="postgres://ada:sesame@db:5433/carillon",
    )
    assert (settings["HOST"], settings["PORT"], settings["WEB_CONCURRENCY"]) == ("0.0.0.0", 80, 4)
    assert settings["ALLOWED_HOSTS"] == ["example.com", ".example.org"]
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://example.com"]
    database = settings["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("db", 5433, "carillon")


def test_a_secret_may_be_in_a_file_and_the_variable_takes_precedence(
    environment: Environment, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("from a $file\n")
    variables = {"REDIS_URL": PRODUCTION["REDIS_URL"], "SECRET_KEY_FILE": str(file)}
    assert environment.settings(**variables)["SECRET_KEY"] == "from a $file"
    assert environment.settings(**variables, SECRET_KEY="outright")["SECRET_KEY"] == "outright"


def test_a_value_may_start_with_a_dollar(environment: Environment) -> None:
    variables = {**PRODUCTION, "SECRET_KEY": "$ECRET"}
    assert environment.settings(**variables)["SECRET_KEY"] == "$ECRET"


def test_an_empty_variable_counts_as_unset(environment: Environment) -> None:
    settings = environment.settings(**PRODUCTION, PORT="", CARILLON_PUBLIC_TOPICS=" ", DEBUG="")
    assert settings["PORT"] == 8000
    assert "PUBLIC_TOPICS" not in settings["CARILLON"]


def test_readers_and_writers_of_sqlite_do_not_lock_each_other_out(tmp_path: Path) -> None:
    migrate(tmp_path)
    code = (
        "from django.db import connection as c; print(c.cursor().execute('PRAGMA {}').fetchone())"
    )
    for pragma, value in {"journal_mode": "('wal',)", "busy_timeout": "(20000,)"}.items():
        command = ["shell", "-v0", "-c", code.format(pragma)]
        output = manage(*command, redis_url="redis://127.0.0.1:1/0", folder=tmp_path)
        assert output.strip() == value


@pytest.mark.parametrize(("command", "loads"), [("runserver", True), ("carillon", False)])
def test_daphne_is_installed_for_runserver_only(
    environment: Environment, command: str, loads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", command])
    assert ("daphne" in environment.settings(DEBUG="1")["INSTALLED_APPS"]) is loads


def test_the_deployment_check_is_clean(redis: RedisServer, tmp_path: Path) -> None:
    output = manage(
        *("check", "--deploy", "--fail-level", "WARNING"),
        redis_url=redis.url,
        folder=tmp_path,
        SECRET_KEY=read_or_create_secret(tmp_path / "key", size=48),
    )
    assert "no issues" in output


@pytest.mark.django_db
def test_a_form_passes_the_csrf_check_on_plain_http_at_localhost() -> None:
    browser = Client(enforce_csrf_checks=True, HTTP_HOST="localhost:8000")
    login = browser.get("/admin/login/")
    assert login.status_code == 200
    form = {
        "username": "nobody",
        "password": "wrong",
        "csrfmiddlewaretoken": login.cookies["csrftoken"].value,
    }
    same, other = "http://localhost:8000", "http://localhost:9000"
    assert browser.post("/admin/login/", form, headers={"Origin": same}).status_code == 200
    assert browser.post("/admin/login/", form, headers={"Origin": other}).status_code == 403
