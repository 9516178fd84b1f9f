"""The client's IP address, as far as the proxies on the way to it are trusted."""

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

IPV6_SITE_BITS = 64
"""A client with one IPv6 address has every address with the same first 64 bits."""
MAX_HOPS = 32


def client_address(scope: Mapping[str, Any]) -> str | None:
    """The nearest address that is not in `TRUSTED_PROXIES`; an IPv6 address as its /64 network."""
    address = nearest(scope, get_settings().TRUSTED_PROXIES)
    return None if address is None else _formatted(address)


def nearest(scope: Mapping[str, Any], trusted: Collection[Network]) -> Address | None:
    """The nearest address that is in no trusted network; None if the server knows no peer.

    `X-Forwarded-For` is read from the right: the first untrusted address from there may have
    invented all that is left of it.
    """
    client = scope.get("client")
    address = _parsed(client[0]) if client else None
    if address is not None and trusted:
        hops = _hops(scope)
        while _is_in(trusted, address):
            hop = next(hops, None)
            farther = None if hop is None else _parsed(hop)
            if farther is None:
                break
            address = farther
    return address


def set_client_behind_proxies(peer: Any, scope: dict[str, Any]) -> None:
    """Set the scope's client to the nearest address that is not a trusted proxy's.

    Daphne takes the first address of X-Forwarded-For, which a client can invent. Without
    `TRUSTED_PROXIES` the peer is trusted.
    """
    if not hasattr(peer, "host"):  # a Unix socket
        return
    host: str = peer.host
    scope["client"] = [host, peer.port]
    trusted = get_settings().TRUSTED_PROXIES
    address = _parsed(host)
    if trusted and not (address is not None and _is_in(trusted, address)):
        scope["scheme"] = "http"
        return
    found = nearest(scope, trusted or (ip_network(host.partition("%")[0]),))
    if str(found) != host:
        scope["client"] = [str(found), 0]


def _is_in(networks: Collection[Network], address: Address) -> bool:
    return any(address in network for network in networks)


def _hops(scope: Mapping[str, Any]) -> Iterator[str]:
    """The addresses that proxies appended to `X-Forwarded-For`, from right to left."""
    lines = [value for name, value in scope["headers"] if name.lower() == b"x-forwarded-for"]
    hops = b",".join(lines).decode("latin1").rsplit(",", MAX_HOPS)
    return (hop.strip() for hop in reversed(hops))


def _parsed(text: str) -> Address | None:
    """An address without the port that some proxies append and without an IPv6 zone."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _formatted(address: Address) -> str:
    if address.version == 4:
        return str(address)
    return str(ip_network((address, IPV6_SITE_BITS), strict=False))
