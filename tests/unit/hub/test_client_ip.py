"""The client's address: `X-Forwarded-For`, read from the right and only from trusted proxies."""

from typing import Any

import pytest
from pytest_django import Settings as DjangoSettings

from notifications.hub.client_ip import client_address

PROXY, OUTER, CLIENT, LIE = "10.0.0.5", "192.0.2.9", "203.0.113.7", "198.51.100.1"


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    lines = [(b"x-forwarded-for", line.encode("latin1")) for line in forwarded]
    return {"client": peer and (peer, 1234), "headers": [(b"host", b"here"), *lines]}


@pytest.fixture
def trust(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "TRUSTED_PROXIES": ["10.0.0.0/8", OUTER, "fd00::/8"]}


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    assert client_address(scope(PROXY, CLIENT)) == PROXY


@pytest.mark.usefixtures("trust")
@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        (CLIENT, (LIE,), CLIENT),
        (PROXY, (), PROXY),
        (PROXY, (CLIENT,), CLIENT),
        (PROXY, (f"{LIE}, {CLIENT}",), CLIENT),
        (PROXY, (f"{LIE}, {CLIENT}, {OUTER}",), CLIENT),
        (PROXY, (LIE, f"{CLIENT}", OUTER), CLIENT),
        (PROXY, ("10.1.1.1, 10.1.1.2",), "10.1.1.1"),
        (PROXY, (f"{CLIENT}:4711",), CLIENT),
        (PROXY, (f"{CLIENT}, nonsense",), PROXY),
        (PROXY, (f"{CLIENT},, ",), PROXY),
        (PROXY, ("\xff",), PROXY),
        (PROXY, ("[2001:db8:1:2:3::4]:99",), "2001:db8:1:2::/64"),
        ("fd00::1", ("2001:db8:1:2:ffff::9",), "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.5", (CLIENT,), CLIENT),
        (PROXY, (f"::ffff:{CLIENT}",), CLIENT),
        ("fe80::1%eth0", (), "fe80::/64"),
        (None, (CLIENT,), None),
        ("a-socket", (CLIENT,), None),
    ],
)
def test_the_client_is_the_first_address_from_the_right_that_is_not_trusted(
    peer: str | None, forwarded: tuple[str, ...], address: str | None
) -> None:
    assert client_address(scope(peer, *forwarded)) == address


@pytest.mark.usefixtures("trust")
def test_a_header_of_thousands_of_proxies_is_not_followed_for_ever() -> None:
    hops = ", ".join([CLIENT, *["10.0.0.1"] * 5_000])
    assert client_address(scope(PROXY, hops)) == "10.0.0.1"
