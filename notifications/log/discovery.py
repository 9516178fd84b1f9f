"""Where the log is now, as Sentinels or the nodes of a cluster have it: pure code."""

from collections.abc import Iterator, Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ConnectionError as Away

from notifications.conf.redis_url import Address, RedisUrl
from notifications.log.script import Keys


class Discovery:
    """Whom to ask, and what. `found` is where the log was when it was last sought."""

    def __init__(self, url: RedisUrl, prefix: str) -> None:
        self.found: Address | None = None
        self.whom = url.sentinel if url.kind == "sentinel" else url.server
        self.is_sentinel = url.kind == "sentinel"
        self._slot = key_slot(Keys(prefix).stream.encode())
        self._service = url.service
        self._given = self._known = url.addresses

    @property
    def question(self) -> Sequence[str]:
        if self.is_sentinel:
            return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        return ("CLUSTER", "SLOTS")

    def addresses(self) -> Iterator[Address]:
        """All to ask, each time from the next one on: one of them may hang, or be behind."""
        for _ in range(len(self._known)):
            first, *others = self._known
            self._known = (*others, first)
            yield first

    def answered(self, asked: Address, reply: Any) -> Address:
        """Raises what a connection does that fails, where the answer names none."""
        found = self._of_service(reply) if self.is_sentinel else self._of_slot(asked, reply)
        if found is None:
            raise Away(f"{asked[0]}:{asked[1]} does not know where the log is.")
        self.found = found
        return found

    def check_place(self, host: str, port: int) -> None:
        """One that hung and wakes goes on as a master, until it is told that another is."""
        if self.found != (host, port):
            raise Away(f"The log is not at {host}:{port} any more.")

    def check_role(self, role: Any) -> None:
        """A Sentinel may be behind: where it led may be a replica by now."""
        if role[0] != b"master":
            raise Away("The Redis that Sentinel names is not a master.")

    def nowhere(self, error: BaseException | None) -> Away:
        return Away(f"Nobody says where the log is: {error or 'no answer in time'}")

    def _of_service(self, reply: Any) -> Address | None:
        return (reply[0].decode(), int(reply[1])) if reply else None

    def _of_slot(self, asked: Address, reply: Any) -> Address | None:
        nodes = [
            # A node that does not know its own name gives none: it is where it was asked.
            (node[0].decode() if node[0] else asked[0], int(node[1]))
            for _, _, *holders in reply
            for node in holders
        ]
        still = {*self._given, *nodes}
        asked_next = dict.fromkeys((*self._known, *self._given, *nodes))
        self._known = tuple(each for each in asked_next if each in still)
        for first, last, master, *_ in reply:
            if first <= self._slot <= last:
                return (master[0].decode() if master[0] else asked[0], int(master[1]))
        return None
