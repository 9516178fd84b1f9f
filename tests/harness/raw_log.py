"""The entries of the log as Redis has them, read without any code of the log."""

from typing import Any, NamedTuple

from redis import Redis


class RawEntry(NamedTuple):
    position: bytes
    topics: list[bytes]
    prev: bytes
    kind: bytes
    counts: list[bytes]
    last_event: bytes
    content: bytes

    @property
    def data(self) -> str:
        """Of an event."""
        return self.content.split(b"\n", 8)[8].decode()


def raw_entries(client: Redis, stream: str) -> list[RawEntry]:
    """All of them, oldest first; none of them may be of somebody else."""
    found: Any = client.xrange(stream)
    return [_entry(position, *fields.popitem()) for position, fields in found]


def raw_events(client: Redis, stream: str) -> list[RawEntry]:
    return [entry for entry in raw_entries(client, stream) if entry.kind == b"event"]


def header(prev: str, kind: str, *topics: str, last_event: str = "0-0") -> str:
    """The header of an entry, as the script writes it for the first one that it counts."""
    return "\n".join(topics) + f"\n{prev} {kind} 0 0 {last_event}"


def _entry(position: bytes, header: bytes, content: bytes) -> RawEntry:
    *topics, link = header.split(b"\n")
    prev, kind, *counts, last_event = link.split(b" ")
    return RawEntry(position, topics, prev, kind, counts, last_event, content)
