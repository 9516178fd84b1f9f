"""The time limit for requests: it does not keep a connection that its server has let go of."""

import gc
import weakref

from notifications.management.server.request_timeout import Arrival, Awaited, RequestTimeout


class Connection:
    pass


async def test_a_connection_that_is_watched_is_freed_by_its_last_other_reference() -> None:
    def arrival_of(_: Connection) -> Arrival:
        return Awaited.NOTHING

    aborted: list[Connection] = []
    timeout = RequestTimeout(arrival_of, aborted.append)
    connection = Connection()
    watched = weakref.ref(connection)
    timeout.watch(connection)
    timeout._check(watched, Awaited.FIRST_HEAD)  # watched on
    gc.disable()
    try:
        del connection
        assert watched() is None
    finally:
        gc.enable()
    assert timeout._check(watched, Awaited.NOTHING) is False
    assert aborted == []
