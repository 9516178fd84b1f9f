"""The rows of the table, by subject."""

from benchmarks.rows import bursts, connecting, fanout, inboxes, publishing, replaying, working
from benchmarks.table import Row

ROWS: tuple[Row, ...] = (
    *fanout.ROWS,
    *bursts.ROWS,
    *connecting.ROWS,
    *replaying.ROWS,
    *publishing.ROWS,
    *working.ROWS,
    *inboxes.ROWS,
)
