"""The transport for any ASGI server and any middleware: it awaits the server's `send`."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context

from notifications.transport.base import Message, Payload, Send, Transport, send_nothing


class AsgiTransport(Transport):
    """Calls `send` in an eagerly started task.

    If `send` does not wait, it has finished before `write` returns, without a task switch. If it
    waits, that is the server's back-pressure, and the transport is busy until `send` returns.

    `cancel` ends the application's call for this request. ASGI offers no other way to close a
    connection, so this is all that `abort` can do on a server that we do not know.
    """

    __slots__ = ("_cancel", "_loop", "_send", "_sending")

    def __init__(self, send: Send, *, cancel: Callable[[], object]) -> None:
        super().__init__()
        self._send = send
        self._cancel: Callable[[], object] | None = cancel
        self._loop = asyncio.get_running_loop()
        self._sending: asyncio.Task[None] | None = None

    def write(self, payload: Payload) -> None:
        self._send_body(payload.raw)

    def end(self, payload: Payload, *, break_off: bool = False) -> None:
        if break_off:
            self._run(self._break_off(payload.raw))
        else:
            self._send_body(payload.raw, more_body=False)

    def abort(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
        if self._cancel is not None:
            cancel, self._cancel = self._cancel, None
            cancel()

    def release(self) -> None:
        self._cancel = None
        self._send = send_nothing
        super().release()

    def _send_body(self, body: bytes, *, more_body: bool = True) -> None:
        message = {"type": "http.response.body", "body": body, "more_body": more_body}
        self._run(self._send_message(message))

    async def _send_message(self, message: Message) -> None:
        """Send it. After the end of the response, end the application's call too.

        gunicorn's `receive` reports no disconnect for a response that is complete: the call, and
        with it the connection and the server's stop, would wait for the client. Only messages of
        responses have `more_body`: those of WebSockets leave the call alone.
        """
        cancel = self._cancel
        await self._send(message)
        if cancel is not None and message.get("more_body") is False:
            cancel()

    async def _break_off(self, body: bytes) -> None:
        """Send the last payload, and end the application's call without an end of the response.

        Most servers then close the connection: ASGI has no other way to break a response off.
        """
        cancel = self._cancel
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        self._close_connection()
        if cancel is not None:
            cancel()

    def _close_connection(self) -> None:
        """Close it once everything is sent, on a server that offers a way to do so."""

    def _run(self, work: Coroutine[None, None, None]) -> None:
        """Run the coroutine. If it does not finish at once, the transport is busy until it does."""
        # The context is empty because a server may start the next request of the connection in
        # here, and that request must not see the context variables of the publisher that writes.
        task = asyncio.Task(work, loop=self._loop, eager_start=True, context=Context())
        if not task.done():
            self._sending = task
            self.busy = True
            task.add_done_callback(self._on_sent)
        elif task.exception() is not None:
            self._fail()

    def _fail(self) -> None:
        self.busy = True
        self._loop.call_soon(self.callbacks.lost)

    def _on_sent(self, task: asyncio.Task[None]) -> None:
        self._sending = None
        self.busy = False
        if task.cancelled() or task.exception() is not None:
            self.callbacks.lost()
        else:
            self._on_drained()

    def _on_drained(self) -> None:
        self.callbacks.drained()
