"""The wire over `send` of any ASGI server, through any middleware."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context

from notifications.transport.base import Message, Payload, Send, Transport


class AsgiTransport(Transport):
    """`send` runs as an eagerly started task.

    Where it does not wait, there is no task switch, and where it waits, that is the server's
    back-pressure. `give_up` ends the application's side of the connection, which is all that a
    server in general can be told.
    """

    __slots__ = ("_give_up", "_loop", "_send", "_working")

    def __init__(self, send: Send, *, give_up: Callable[[], object]) -> None:
        super().__init__()
        self._send = send
        self._give_up: Callable[[], object] | None = give_up
        self._loop = asyncio.get_running_loop()
        self._working: asyncio.Task[None] | None = None

    def write(self, payload: Payload) -> None:
        self._put(payload.raw)

    def end(self, payload: Payload, *, hang_up: bool = False) -> None:
        self._put(payload.raw, more_body=False)

    def abort(self) -> None:
        if self._working is not None:
            self._working.cancel()
        if self._give_up is not None:
            give_up, self._give_up = self._give_up, None
            give_up()

    def _put(self, body: bytes, *, more_body: bool = True) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": more_body}
        self._work(self._carry(message))

    async def _carry(self, message: Message) -> None:
        await self._send(message)

    def _work(self, work: Coroutine[None, None, None]) -> None:
        """The wire is busy for as long as this takes, if it is not through at once."""
        # With an empty context: a server may begin the next request of the connection in here, and
        # that must find nothing of whose turn it was to write.
        task = asyncio.Task(work, loop=self._loop, eager_start=True, context=Context())
        if not task.done():
            self._working = task
            self.busy = True
            task.add_done_callback(self._worked)
        elif task.exception() is not None:
            self._break()

    def _break(self) -> None:
        self.busy = True
        self._loop.call_soon(self.owner.lost)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._working = None
        self.busy = False
        if task.cancelled() or task.exception() is not None:
            self.owner.lost()
        else:
            self._drained()

    def _drained(self) -> None:
        self.owner.drained()
