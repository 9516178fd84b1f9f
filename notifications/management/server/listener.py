"""Listening sockets: one for each address, and shares of a port for several workers.

The sockets are bound before anything else starts, so that a port in use is noticed at once. Their
queue is deep, since after a restart all browsers come back together.
"""

import errno
import socket
from contextlib import ExitStack
from itertools import chain

from django.core.management.base import CommandError

BACKLOG = 4096
EVERY_IPV4, EVERY_IPV6 = "0.0.0.0", "::"  # noqa: S104
NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""This machine has no such address, or not that family of addresses."""

type Address = tuple[socket.AddressFamily, str]


def listen(host: str, port: int, count: int = 1) -> list[list[socket.socket]]:
    """`count` shares of a port, among which the kernel divides its connections.

    A share is a listening socket for each address of the host. Addresses that this machine does
    not have are left out if it has another of them.
    """
    host = host.strip("[]")
    try:
        port, addresses = _claim(host, port)
        with ExitStack() as bound:
            shares = [
                [bound.enter_context(_bind(each, port, shared=count > 1)) for each in addresses]
                for _ in range(count)
            ]
            for listener in chain.from_iterable(shares):
                listener.listen(BACKLOG)
            bound.pop_all()
            return shares
    except OSError as error:
        why = f"Cannot listen on port {port} of {host}: {error}"
        if error.errno == errno.EADDRINUSE:
            why = (
                f"Port {port} of {host} is in use: stop the program that uses it, or choose "
                "another port (PORT=8001)."
            )
        raise CommandError(why) from None


def _claim(host: str, port: int) -> tuple[int, list[Address]]:
    """A port that is free at each address of the host that this machine has.

    Sockets that share a port would not notice that another program uses it too. These do, and
    never listen: clients that connected to them would be reset.
    """
    addresses: list[Address] = []
    missing: OSError | None = None
    with ExitStack() as bound:
        for address in _addresses(host):
            try:
                claim = bound.enter_context(_bind(address, port))
            except OSError as error:
                if error.errno not in NOT_HERE:
                    raise
                missing = error
            else:
                port = claim.getsockname()[1]
                addresses.append(address)
    if missing is not None and not addresses:
        raise missing
    return port, addresses


def _addresses(host: str) -> list[Address]:
    """The addresses of a host. `::` is every address, of either family.

    Each family has a socket of its own: IPv4 clients of an IPv6 socket would have addresses like
    `::ffff:192.0.2.7`, which no site and no list of trusted proxies expects.
    """
    found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = [(family, str(address[0])) for family, _, _, _, address in found]
    if (socket.AF_INET6, EVERY_IPV6) in addresses:
        addresses.append((socket.AF_INET, EVERY_IPV4))
    return list(dict.fromkeys(addresses))


def _bind(address: Address, port: int, *, shared: bool = False) -> socket.socket:
    family, host = address
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
