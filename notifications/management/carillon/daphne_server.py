"""Daphne, whose streams are told of its end before they are cut."""

import asyncio
import signal
from contextlib import suppress

from daphne.server import Server, twisted_loop
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning

from notifications import runtime

FAREWELL = 5.0


class DaphneServer(Server):  # type: ignore[misc]
    def run(self) -> None:
        """Until Ctrl-C or SIGTERM, which the loop minds from here on, even before it runs.

        An exception out of a signal handler would be lost wherever Twisted catches all there are.
        """
        self.signal_handlers = False
        for number in (signal.SIGINT, signal.SIGTERM):
            twisted_loop.add_signal_handler(number, self.stop)
        # Daphne speaks no lifespan, and the window should be loaded before the first subscriber.
        twisted_loop.call_soon(runtime.start)
        super().run()

    def stop(self) -> None:
        with suppress(ReactorNotRunning):  # it was told twice
            super().stop()

    def kill_all_applications(self) -> Deferred[None]:
        """Before Twisted shuts down, which waits for it."""
        return Deferred.fromFuture(asyncio.ensure_future(self._end()))

    async def _end(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await runtime.stop()
        # Daphne would stumble over a connection that has no application running: none yet, or none
        # any more, and cancel nothing.
        for protocol, details in list(self.connections.items()):
            if "application_instance" not in details:
                del self.connections[protocol]
        await super().kill_all_applications().asFuture(asyncio.get_running_loop())
