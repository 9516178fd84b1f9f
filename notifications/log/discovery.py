"""Where the log is now, according to Sentinels or the nodes of a cluster: pure code."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

from redis.crc import key_slot
from redis.exceptions import ConnectionError as ConnectionFailed

from notifications.conf import redis_url
from notifications.conf.redis_url import Address, RedisUrl
from notifications.log.outcomes import UNAVAILABLE_ERRORS

QUERY_TIMEOUT_SECONDS = 2.0
"""For all servers that are asked for the log's address, if no connect timeout is set."""


def discovery_of(url: str, stream: str) -> "Discovery | None":
    """For the log with this key; None if the `REDIS_URL` itself says where the log is."""
    parsed = redis_url.parse(url)
    return None if parsed.kind == "server" else Discovery(parsed, key_slot(stream.encode()))


class Addressed(Protocol):
    """A connection, and the server that it leads to."""

    host: str
    port: int


class Discovery:
    """Chooses the servers to ask for the log's address, and reads their replies.

    `slot` is the log's slot in a cluster. `address` is what the last reply named.
    """

    def __init__(self, url: RedisUrl, slot: int) -> None:
        self.url = url
        self.address: Address | None = None
        self.query_url = url.sentinel if url.kind == "sentinel" else url.server
        self.is_sentinel = url.kind == "sentinel"
        self._slot = slot
        self._configured = self._candidates = url.addresses

    @property
    def query(self) -> Sequence[str]:
        """The Redis command whose reply names the log's address."""
        if self.is_sentinel:
            return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.url.service)
        return ("CLUSTER", "SLOTS")

    async def find(
        self,
        ask: Callable[[Address, float], Awaitable[Any]],
        connect_timeout: float | None,
    ) -> Address:
        """The log's address. `ask` sends the query to a server, and has so many seconds for it."""
        seconds = (connect_timeout or QUERY_TIMEOUT_SECONDS) / 4  # leaves time to ask others
        failure: BaseException | str = "no answer in time"
        for server in self.candidates():
            try:
                return self.read_reply(server, await ask(server, seconds))
            except UNAVAILABLE_ERRORS as error:
                failure = error if str(error) else failure
        raise ConnectionFailed(f"No server says where the log is: {failure}")

    def candidates(self) -> Iterator[Address]:
        """All servers to ask. Each round starts with another, as one may hang or be out of date."""
        for _ in range(len(self._candidates)):
            first, *others = self._candidates
            self._candidates = (*others, first)
            yield first

    def read_reply(self, server: Address, reply: Any) -> Address:
        """The log's address, in a server's reply to `query`.

        If the reply names no address, raises the error that a failed connection raises.
        """
        address = self._of_service(reply) if self.is_sentinel else self._of_slot(server, reply)
        if address is None:
            raise ConnectionFailed(f"{server[0]}:{server[1]} does not know where the log is.")
        self.address = address
        return address

    def check_address(self, connection: Addressed) -> None:
        """Raise unless a connection still leads to the log's address.

        A master that hung and wakes up acts as a master until it learns that another took over.
        """
        address = connection.host, connection.port
        if self.address != address:
            raise ConnectionFailed("The log is not at {}:{} any more.".format(*address))

    def check_role(self, role: Any) -> None:
        """Raise unless the reply to `ROLE` is a master's.

        A Sentinel may be out of date, and name a server that has become a replica.
        """
        if role[0] != b"master":
            raise ConnectionFailed("The Redis that Sentinel names is not a master.")

    def _of_service(self, reply: Any) -> Address | None:
        return (reply[0].decode(), int(reply[1])) if reply else None

    def _of_slot(self, server: Address, reply: Any) -> Address | None:
        nodes = [
            (_host(node[0], server), int(node[1])) for _, _, *holders in reply for node in holders
        ]
        current = {*self._configured, *nodes}
        ordered = dict.fromkeys((*self._candidates, *self._configured, *nodes))
        self._candidates = tuple(address for address in ordered if address in current)
        for first, last, master, *_ in reply:
            if first <= self._slot <= last:
                return _host(master[0], server), int(master[1])
        return None


def _host(name: bytes | None, server: Address) -> str:
    """The host of a node, in the reply of a server.

    A node that does not know its own name sends none, and one without the hostname that it is
    configured to announce sends `?`: its name is the one that it was asked by.
    """
    return name.decode() if name not in (None, b"", b"?") else server[0]
