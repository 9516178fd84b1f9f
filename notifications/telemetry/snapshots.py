"""The latest metrics of each process of one `carillon serve`, in memory that all of them share.

The memory is a file without a name, so no folder has to be writable, and nothing is left behind.
Each process writes to a region of its own and reads all of them. The supervisor adds what a worker
has counted to the first region when the worker has ended.
"""

import json
import os
import struct
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import NamedTuple
from zlib import crc32

HALF_BYTES = 512 * 1024
"""Far more than a snapshot has. What is never written takes no memory."""
REGION_BYTES = 2 * HALF_BYTES
HEADER = struct.Struct("<II")  # the checksum and the length of what follows
ENDED = 0
"""The region of all processes that have ended."""

type Samples = list[tuple[str, dict[str, str], float]]
"""Names, labels and values."""


class Snapshot(NamedTuple):
    number: int
    """Grows with each snapshot in a region."""
    writer: int
    """A number of the process's own; in the region `ENDED`, of the one that was added last."""
    counts: Samples
    """Samples that only grow, so that those of different processes can be added."""
    gauges: Samples


EMPTY = Snapshot(0, 0, [], [])


class Snapshots:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._allocated = {ENDED}

    @classmethod
    def create(cls) -> "Snapshots":
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("carillon-metrics"))
        with TemporaryFile() as file:  # macOS
            return cls(os.dup(file.fileno()))

    def allocate(self) -> int:
        """A region that no process uses."""
        region = next(number for number in range(1, 1 << 20) if number not in self._allocated)
        self._allocated.add(region)
        return region

    def retire(self, region: int) -> None:
        """Keep the counts of a process that has ended, and free its region."""
        last = self.read(region)
        if last.writer:
            self.write(ENDED, last.writer, added([self.read(ENDED), last]), [])
            self.write(region, 0, [], [])
        self._allocated.discard(region)

    def write(self, region: int, writer: int, counts: Samples, gauges: Samples) -> None:
        """Replace the snapshot. Until this is complete, readers get the one before.

        So the older half of the region is the one that is overwritten.
        """
        number = self.read(region).number + 1
        content = json.dumps(Snapshot(number, writer, counts, gauges)).encode()
        if len(content) <= HALF_BYTES - HEADER.size:
            header = HEADER.pack(crc32(content), len(content))
            offset = region * REGION_BYTES + number % 2 * HALF_BYTES
            os.pwrite(self.descriptor, header + content, offset)

    def read(self, region: int) -> Snapshot:
        start = region * REGION_BYTES
        return max(self._half(start), self._half(start + HALF_BYTES), key=lambda half: half.number)

    def read_all(self) -> list[Snapshot]:
        """The snapshot of the processes that have ended, and those of the others."""
        while True:
            ended = self.read(ENDED)
            others = [other for other in self._others() if other.writer not in (0, ended.writer)]
            # A process that ended meanwhile would be missing, or counted twice.
            if self.read(ENDED).number == ended.number:
                return [ended, *others]

    def _others(self) -> Iterator[Snapshot]:
        size = os.fstat(self.descriptor).st_size
        return (self.read(region) for region in range(1, -(-size // REGION_BYTES)))

    def _half(self, offset: int) -> Snapshot:
        header = os.pread(self.descriptor, HEADER.size, offset)
        if len(header) < HEADER.size:
            return EMPTY
        checksum, length = HEADER.unpack(header)
        content = os.pread(self.descriptor, min(length, HALF_BYTES), offset + HEADER.size)
        if not content or crc32(content) != checksum:
            return EMPTY  # never written, or being written
        return Snapshot(*json.loads(content))


def added(snapshots: list[Snapshot]) -> Samples:
    """The sums of the counts."""
    totals: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for snapshot in snapshots:
        for name, labels, value in snapshot.counts:
            key = name, tuple(sorted(labels.items()))
            totals[key] = totals.get(key, 0.0) + value
    return [(name, dict(labels), value) for (name, labels), value in totals.items()]
