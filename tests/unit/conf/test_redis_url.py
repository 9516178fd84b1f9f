"""`REDIS_URL`: its parts, and the URLs that are refused."""

import pytest

from notifications.conf.redis_url import RedisUrl, parse


def test_sentinels_are_asked_for_the_server_of_a_service() -> None:
    assert parse("rediss+sentinel://ada:se%40same@one:1,two/main/2?ssl_ca_certs=%2Fca") == RedisUrl(
        "sentinel",
        "rediss://ada:se%40same@one:1/2?ssl_ca_certs=%2Fca",
        "rediss://one:1?ssl_ca_certs=%2Fca",
        (("one", 1), ("two", 26379)),
        "main",
    )


def test_sentinels_have_users_of_their_own() -> None:
    url = parse("rediss+sentinel://:sesame@one/main?sentinel_username=eve&sentinel_password=apple")
    assert url.server == "rediss://:sesame@one:26379/0"
    assert url.sentinel == "rediss://one:26379?username=eve&password=apple"


def test_nodes_of_a_cluster_have_the_credentials_of_the_log() -> None:
    url = parse("redis+cluster://:sesame@one,[::1]:7001")
    assert (url.server, url.addresses) == (
        "redis://:sesame@one:6379/0",
        (("one", 6379), ("::1", 7001)),
    )


@pytest.mark.parametrize("url", ["redis://one:1/0", "rediss://one", "unix:///run/redis.sock"])
def test_a_url_that_redis_py_understands_is_passed_on(url: str) -> None:
    assert parse(url) == RedisUrl("server", url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://:sesame@one", "must begin with"),
        ("redis+sentinel:one", "must begin with"),
        ("redis+sentinel://:sesame@one:26379", "must name a service"),
        ("redis+sentinel://:sesame@one/main/first", "number of a database"),
        ("redis+sentinel://:sesame@one/main/0/0", "number of a database"),
        ("redis+sentinel://:sesame@/main", "hosts must look like"),
        ("redis+sentinel://:sesame@one,,two/main", "hosts must look like"),
        ("redis+sentinel://:sesame@one:port/main", "hosts must look like"),
        ("redis://:sesame@one?ssl_ca_certs=/ca", "ssl_ca_certs is for TLS"),
        ("redis+sentinel://:sesame@one/main?ssl_ca_certs=/ca", "ssl_ca_certs is for TLS"),
        ("redis+cluster://:sesame@one/1", "database 0 alone"),
        ("redis+cluster://:sesame@one:70000", "hosts must look like"),
    ],
)
def test_a_wrong_url_is_refused_without_showing_its_password(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refusal:
        parse(url)
    assert "sesame" not in str(refusal.value)
