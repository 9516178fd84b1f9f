"""`CARILLON`: a wrong setting is refused by its name, and a correct setting takes effect."""

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from pydantic import ValidationError
from pytest_django import Settings as DjangoSettings

from notifications.conf import Settings, get_settings
from tests.harness.tokens import SECRET, jwt_setting, key_pair

MEMORY = {"LOG": "memory"}


def refusal(carillon: Any) -> list[str]:
    with override_settings(CARILLON=carillon), pytest.raises(ImproperlyConfigured) as caught:
        get_settings()
    return str(caught.value).splitlines()


def accepted(**carillon: Any) -> Settings:
    with override_settings(CARILLON={**MEMORY, **carillon}):
        return get_settings()


def test_an_unknown_setting_is_refused_by_its_name() -> None:
    assert refusal({**MEMORY, "PUBLIC_TOPIC": []}) == [
        'CARILLON["PUBLIC_TOPIC"] is not a setting: did you mean CARILLON["PUBLIC_TOPICS"]?'
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LOG", "kafka"),
        ("REDIS_URL", 6379),
        ("REDIS_URL", "localhost:6379"),
        ("REDIS_URL", "http://localhost:6379"),
        ("REDIS_URL", "redis+sentinel://localhost:26379"),
        ("REDIS_URL", "redis+cluster://localhost:6379/1"),
        ("DATA_DIR", 1),
        ("KEY_PREFIX", ""),
        ("KEY_PREFIX", "with space"),
        ("KEY_PREFIX", "brace{"),
        ("KEY_PREFIX", "a" * 65),
        ("PUBLISH_KEYS", "one-key-and-not-a-list"),
        ("PUBLISH_KEYS", ["too-short"]),
        ("PUBLISH_KEYS", ["long enough, but with spaces"]),
        ("PUBLISH_KEYS", ["länger-als-sechzehn-zeichen"]),
        ("PUBLISH_KEYS", [1234567890123456]),
        ("PUBLIC_TOPICS", "demo."),
        ("PUBLIC_TOPICS", [""]),
        ("PUBLIC_TOPICS", ["a" * 256]),
        ("PUBLIC_TOPICS", [None]),
        ("CORS_ALLOWED_ORIGINS", "https://app.example.com"),
        ("CORS_ALLOWED_ORIGINS", ["*"]),
        ("CORS_ALLOWED_ORIGINS", ["app.example.com"]),
        ("CORS_ALLOWED_ORIGINS", ["https://app.example.com/"]),
        ("HISTORY_EVENTS", 0),
        ("HISTORY_EVENTS", "100"),
        ("HISTORY_EVENTS", 1.5),
        ("HISTORY_BYTES", 1024),
        ("HISTORY_AGE", 0),
        ("KEEPALIVE", 0),
        ("KEEPALIVE", 301),
        ("KEEPALIVE", float("nan")),
        ("KEEPALIVE", None),
        ("DRAIN_SECONDS", -1),
        ("DRAIN_SECONDS", 301),
        ("DRAIN_SECONDS", "5"),
        ("WRITE_DEADLINE", 0),
        ("WRITE_DEADLINE", -1),
        ("MAX_EVENT_BYTES", 0),
        ("MAX_EVENT_BYTES", True),
        ("MAX_BATCH_EVENTS", 0),
        ("MAX_BATCH_BYTES", 0),
        ("PUBLISH_TIMEOUT", 0),
        ("PUBLISH_TIMEOUT", "2"),
        ("IDEMPOTENCY_AGE", 0),
        ("OUTBOX", "on"),
        ("OUTBOX_DATABASES", []),
        ("OUTBOX_DATABASES", "default"),
        ("OUTBOX_LEASE", 0.5),
        ("OUTBOX_POLL", 0),
        ("OUTBOX_KEY_AGE", 59),
        ("LINK_AGE", 0),
        ("QUERY_TOKENS", 1),
        ("JWT", "secret"),
        ("JWT", {}),
        ("JWT", jwt_setting(KEYS={})),
        ("JWT", jwt_setting(KEYS={"": jwt_setting()["KEYS"]["main"]})),
        ("JWT", jwt_setting(AUDIENCE="")),
        ("JWT", jwt_setting(ISSUER=None)),
        ("JWT", jwt_setting(LEEWAY=301)),
        ("JWT", jwt_setting(ALGORITHMS=["none"])),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_setting(key: str, value: Any) -> None:
    lines = refusal({**MEMORY, key: value})
    assert lines
    assert all(line.startswith(f'CARILLON["{key}"]') for line in lines)


def test_every_wrong_setting_is_named_at_once() -> None:
    lines = refusal({**MEMORY, "KEEPALIVE": 0, "NOPE": 1, "HISTORY_AGE": 0})
    assert {line.partition(" ")[0] for line in lines} == {
        'CARILLON["KEEPALIVE"]',
        'CARILLON["NOPE"]',
        'CARILLON["HISTORY_AGE"]',
    }


def test_a_refused_publish_key_is_not_shown() -> None:
    assert "hunter2" not in "".join(refusal({**MEMORY, "PUBLISH_KEYS": ["hunter2"]}))


def key(algorithm: str, text: str) -> dict[str, Any]:
    return jwt_setting(KEYS={"main": {"ALGORITHM": algorithm, "KEY": text}})


@pytest.mark.parametrize(
    ("algorithm", "text", "why"),
    [
        ("none", SECRET, "HS256"),
        ("HS512", SECRET, "HS256"),
        ("HS256", "x" * 31, "32 bytes"),
        ("HS256", key_pair("RS256").public_pem, "which of the two"),
        ("RS256", SECRET, "must be a public key"),
        ("RS256", key_pair("RS256").private_pem, "must be a public key"),
        ("RS256", key_pair("RS256").public_pem[:-60], "must be a public key"),
        ("RS256", key_pair("RS256", weak=True).public_pem, "2048 bits"),
        ("RS256", key_pair("ES256").public_pem, "RSA"),
        ("ES256", key_pair("EdDSA").public_pem, "P-256"),
        ("ES256", key_pair("ES256", weak=True).public_pem, "P-256"),
        ("EdDSA", key_pair("ES256").public_pem, "Ed25519"),
    ],
)
def test_a_key_that_cannot_verify_tokens_is_refused_and_not_shown(
    algorithm: str, text: str, why: str
) -> None:
    (line,) = refusal({**MEMORY, "JWT": key(algorithm, text)})
    assert line.startswith('CARILLON["JWT"]["KEYS"]["main"]')
    assert why in line
    assert not any(part in line for part in text.split() if len(part) > 20)


def test_an_issuer_s_secret_is_not_shown() -> None:
    settings = accepted(JWT=jwt_setting())
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.model_dump())


@pytest.mark.parametrize("carillon", [None, [], "redis://localhost"])
def test_a_value_that_is_no_dict_is_refused(carillon: Any) -> None:
    (line,) = refusal(carillon)
    assert line.startswith("CARILLON must be a dict of settings, such as")
    with override_settings(DEBUG=True):
        assert refusal(carillon) == [line]


def test_without_a_server_the_error_names_the_remedy(settings: DjangoSettings) -> None:
    assert 'CARILLON["REDIS_URL"] is not set' in refusal({})[0]
    assert 'CARILLON["DATA_DIR"] is not set' in refusal({"LOG": "embedded"})[0]
    del settings.CARILLON
    with pytest.raises(ImproperlyConfigured, match=r"REDIS_URL.* is not set"):
        get_settings()


@pytest.mark.parametrize("url", ["redis://somewhere", "rediss://somewhere", "unix:///somewhere"])
def test_redis_is_configured_by_its_url(url: str) -> None:
    assert url == accepted(LOG="redis", REDIS_URL=url).REDIS_URL


def test_the_embedded_server_needs_only_a_folder() -> None:
    assert str(accepted(LOG="embedded", DATA_DIR=Path("data")).DATA_DIR) == "data"


@pytest.mark.parametrize("collection", [["demo."], ("demo.",), {"demo."}])
def test_several_values_come_in_any_collection(collection: Any) -> None:
    assert accepted(PUBLIC_TOPICS=collection).PUBLIC_TOPICS == ("demo.",)


def test_a_whole_number_of_seconds_is_a_duration() -> None:
    assert accepted(KEEPALIVE=15, WRITE_DEADLINE=1, PUBLISH_TIMEOUT=1).KEEPALIVE == 15


def test_by_default_nothing_is_public_and_nobody_publishes() -> None:
    settings = accepted()
    assert settings.PUBLIC_TOPICS == ()
    assert settings.PUBLISH_KEYS == ()
    assert settings.CORS_ALLOWED_ORIGINS == ()


def test_an_overridden_setting_takes_effect_and_is_restored() -> None:
    before = get_settings()
    with override_settings(CARILLON={**MEMORY, "MAX_EVENT_BYTES": 7}):
        assert get_settings().MAX_EVENT_BYTES == 7
    assert get_settings() == before


def test_settings_are_values() -> None:
    settings = accepted(PUBLIC_TOPICS=["demo."], JWT=jwt_setting())
    assert settings == accepted(PUBLIC_TOPICS=["demo."], JWT=jwt_setting())
    assert hash(settings) == hash(accepted(PUBLIC_TOPICS=["demo."], JWT=jwt_setting()))
    with pytest.raises(ValidationError):
        settings.LOG = "redis"  # type: ignore[misc]
