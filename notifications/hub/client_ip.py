"""Where a client is, as far as the proxies in between can be believed."""

from collections.abc import Collection, Iterator, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

from notifications.conf import get_settings

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

SITE_BITS = 64
"""Of an IPv6 address: whoever has one has all that differ in the rest."""
MAX_HOPS = 32


def client_address(scope: Mapping[str, Any]) -> str | None:
    """The nearest that is none of `TRUSTED_PROXIES`, an IPv6 one as its /64."""
    address = nearest(scope, get_settings().TRUSTED_PROXIES)
    return None if address is None else _named(address)


def nearest(scope: Mapping[str, Any], trusted: Collection[Network]) -> Address | None:
    """The nearest address that is of no trusted network.

    `X-Forwarded-For` is read from the right: what is left of the first untrusted address may have
    been made up by it. None where the server does not know the peer.
    """
    client = scope.get("client")
    address = _parsed(client[0]) if client else None
    if address is not None and trusted:
        hops = _hops(scope)
        while _is_among(trusted, address):
            said = next(hops, None)
            farther = None if said is None else _parsed(said)
            if farther is None:
                break
            address = farther
    return address


def is_trusted(host: str, trusted: Collection[Network]) -> bool:
    address = _parsed(host)
    return address is not None and _is_among(trusted, address)


def _is_among(networks: Collection[Network], address: Address) -> bool:
    return any(address in network for network in networks)


def _hops(scope: Mapping[str, Any]) -> Iterator[str]:
    """What proxies added to `X-Forwarded-For`, the last of them first."""
    lines = [value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    hops = b",".join(lines).decode("latin1").rsplit(",", MAX_HOPS)
    return (each.strip() for each in reversed(hops))


def _parsed(text: str) -> Address | None:
    """Some proxies append a port."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _named(address: Address) -> str:
    if address.version == 4:
        return str(address)
    return str(ip_network((address, SITE_BITS), strict=False))
