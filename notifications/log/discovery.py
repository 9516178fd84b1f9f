"""Where the log is now, according to Sentinels or the nodes of a cluster: pure code."""

from collections.abc import Iterator, Sequence
from typing import Any

from redis.exceptions import ConnectionError as ConnectionFailed

from notifications.conf.redis_url import Address, RedisUrl


class Discovery:
    """Chooses the servers to ask for the log's address, and reads their replies.

    `slot` is the log's slot in a cluster. `address` is what the last reply named.
    """

    def __init__(self, url: RedisUrl, slot: int) -> None:
        self.address: Address | None = None
        self.query_url = url.sentinel if url.kind == "sentinel" else url.server
        self.is_sentinel = url.kind == "sentinel"
        self._slot = slot
        self._service = url.service
        self._configured = self._candidates = url.addresses

    @property
    def query(self) -> Sequence[str]:
        """The Redis command whose reply names the log's address."""
        if self.is_sentinel:
            return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        return ("CLUSTER", "SLOTS")

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

    def check_address(self, host: str, port: int) -> None:
        """Raise unless this is still the log's address.

        A master that hung and wakes up acts as a master until it learns that another took over.
        """
        if self.address != (host, port):
            raise ConnectionFailed(f"The log is not at {host}:{port} any more.")

    def check_role(self, role: Any) -> None:
        """Raise unless the reply to `ROLE` is a master's.

        A Sentinel may be out of date, and name a server that has become a replica.
        """
        if role[0] != b"master":
            raise ConnectionFailed("The Redis that Sentinel names is not a master.")

    def failure(self, error: BaseException | None) -> ConnectionFailed:
        """The error to raise when no server has named the log's address."""
        return ConnectionFailed(f"No server says where the log is: {error or 'no answer in time'}")

    def _of_service(self, reply: Any) -> Address | None:
        return (reply[0].decode(), int(reply[1])) if reply else None

    def _of_slot(self, server: Address, reply: Any) -> Address | None:
        nodes = [
            # A node that does not know its own name sends none: its name is the one we asked by.
            (node[0].decode() if node[0] else server[0], int(node[1]))
            for _, _, *holders in reply
            for node in holders
        ]
        current = {*self._configured, *nodes}
        ordered = dict.fromkeys((*self._candidates, *self._configured, *nodes))
        self._candidates = tuple(address for address in ordered if address in current)
        for first, last, master, *_ in reply:
            if first <= self._slot <= last:
                return (master[0].decode() if master[0] else server[0], int(master[1]))
        return None
