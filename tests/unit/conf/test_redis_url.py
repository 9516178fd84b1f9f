"""`REDIS_URL`: its parts, and the URLs that are refused."""

import inspect

import pytest
from redis import connection
from redis.asyncio import connection as aio
from redis.connection import URL_QUERY_ARGUMENT_PARSERS

from notifications.conf.redis_options import OPTIONS
from notifications.conf.redis_url import RedisUrl, parse
from tests.harness.servers import ROOT


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


@pytest.mark.parametrize(
    "url",
    [
        "redis://:sesame@one:1/0?{}",
        "redis+sentinel://:sesame@one/main/0?{}",
        "rediss+cluster://:sesame@one?{}",
        "unix:///run/redis.sock?{}",
    ],
)
def test_what_carillon_sets_itself_is_ignored_in_every_form_of_the_url(url: str) -> None:
    ignored = "decode_responses=true&protocol=3&encoding=latin-1&health_check_interval=1"
    assert parse(url.format(ignored)) == parse(url.partition("?")[0])
    assert "?client_name=ada" in parse(url.format(f"{ignored}&client_name=ada")).server


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("max_connections=1", "max_connections is refused: set CARILLON_REDIS_CONNECTIONS"),
        ("socket_timeout=1", "socket_timeout is refused: set CARILLON_PUBLISH_TIMEOUT"),
        ("retry_on_error=sesame", "retry_on_error is refused: leave it out"),
        ("ssl_validate_ocsp=true", "ssl_validate_ocsp is refused: leave it out"),
        ("host=sesame", "host is refused: write it after the //"),
        ("ssl_cert_reqs=CERT_NONE", "write ssl_cert_reqs=none"),
        ("ssl_cert_reqs=Required", "write ssl_cert_reqs=required"),
        ("ssl_cert_reqs=ssl.CERT_OPTIONAL", "write ssl_cert_reqs=optional"),
        ("ssl_cert_reqs=sesame", "write required, optional or none"),
        ("ssl_check_hostname=off", "write true or false"),
        ("ssl_min_version=TLSv1.2", "write 771 for TLS 1.2"),
        ("ssl_include_verify_flags=sesame", "VERIFY_X509_STRICT"),
        ("client_name=open%20sesame", "without spaces"),
        ("db=one", "write a whole number"),
        ("db=1&db=2", "db appears twice"),
        ("ssl_ca_certs=", "ssl_ca_certs has no value"),
        ("foo=1", "no option foo: there are db, username"),
        ("ssl_ca_cert=/ca.pem", "did you mean ssl_ca_certs"),
        ("SSL_CERT_REQS=none", "did you mean ssl_cert_reqs"),
        ("ssl=true", "begin with rediss"),
        ("sesame@one:6379/0", r"no option: in a password, write \? as %3F"),
    ],
)
def test_a_wrong_option_is_refused_by_name_with_what_to_write(option: str, why: str) -> None:
    for url in ("rediss://one/0", "rediss+sentinel://one/main", "rediss+cluster://one"):
        with pytest.raises(ValueError, match=why) as refusal:
            parse(f"{url}?{option}")
        assert "sesame" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://:sesame/x@one:6379/0", "write / as %2F"),
        ("redis://:se#same@one/0", "write # as %23"),
        ("redis://:sesame@one/first", "number of a database"),
        ("redis://:sesame@one:port/0", "hosts must look like"),
        ("redis://:sesame\u2100@one/0", "as %XX"),
        ("unix://run/redis.sock", "three slashes"),
        ("redis://one?sentinel_password=sesame", "sentinel_password is for Sentinels"),
    ],
)
def test_a_url_that_redis_py_would_misread_is_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refusal:
        parse(url)
    assert "sesame" not in str(refusal.value)


def test_a_database_and_a_user_may_be_options() -> None:
    url = parse("redis+sentinel://one/main/1?db=2&username=ada&password=se%40same")
    assert (url.server, url.sentinel) == ("redis://ada:se%40same@one:26379/2", "redis://one:26379?")


def test_every_option_of_redis_py_is_decided() -> None:
    known = {*URL_QUERY_ARGUMENT_PARSERS}
    for cls in (
        *(connection.SSLConnection, connection.UnixDomainSocketConnection),
        *(aio.SSLConnection, aio.UnixDomainSocketConnection),
        *(connection.BlockingConnectionPool, aio.BlockingConnectionPool),
    ):
        for base in cls.__mro__:
            if "__init__" in vars(base) and base is not object:
                known |= {*inspect.signature(base.__init__).parameters}  # type: ignore[misc]
    decided = {name for option in OPTIONS for name in option.names}
    assert known - {"self", "kwargs", "connection_kwargs"} <= decided


def test_the_documentation_shows_each_decision() -> None:
    text = (ROOT / "docs" / "run.md").read_text()
    for option in OPTIONS:
        names = ", ".join(f"`{name}`" for name in option.names)
        assert f"| {names} | {option.decision} | {option.note} |" in text
