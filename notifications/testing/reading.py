"""Reads the event stream of a response to `AsyncClient`."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, overload
from weakref import WeakKeyDictionary

from django.http.response import HttpResponseBase

from notifications.asgi.responses import EventStreamResponse
from notifications.hub import runtime
from notifications.hub.stream import EventStream
from notifications.sse import Decoder, ServerSentEvent

READ_SECONDS = 5.0
SIGNAL_TYPES = "stream."

# The number of readers in each event loop. The runtime ends with the last of them.
_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()


@overload
def read_events(
    response: HttpResponseBase, *, timeout: float = READ_SECONDS, signals: bool = False
) -> AsyncGenerator[ServerSentEvent]: ...
@overload
def read_events(
    response: HttpResponseBase, count: int, *, timeout: float = READ_SECONDS, signals: bool = False
) -> Coroutine[Any, Any, list[ServerSentEvent]]: ...
def read_events(
    response: HttpResponseBase,
    count: int | None = None,
    *,
    timeout: float = READ_SECONDS,
    signals: bool = False,
) -> AsyncGenerator[ServerSentEvent] | Coroutine[Any, Any, list[ServerSentEvent]]:
    """`await` the next `count` events, or iterate over all with `async for`.

    With `signals`, the service's own events (`stream.cursor`, …) are among them. Afterwards the
    stream is closed, and no task of it is left in the event loop. Raises `AssertionError` if the
    response is no stream, if it ends before `count` events, and if `timeout` seconds pass without
    an event.
    """
    if not isinstance(response, EventStreamResponse):
        content = getattr(response, "content", b"").decode(errors="replace")
        raise AssertionError(  # noqa: TRY004 - the caller is a test
            f"This is no event stream, but {response.status_code}: {content}"
        )
    events = _read_all(response.stream, timeout, signals=signals)
    return events if count is None else _read_some(events, count)


async def _read_some(events: AsyncGenerator[ServerSentEvent], count: int) -> list[ServerSentEvent]:
    read: list[ServerSentEvent] = []
    async with aclosing(events):
        while len(read) < count:
            try:
                read.append(await anext(events))
            except StopAsyncIteration:
                raise AssertionError(f"The stream ended; of {count} events it had {read}") from None
    return read


async def _read_all(
    stream: EventStream, timeout: float, *, signals: bool
) -> AsyncGenerator[ServerSentEvent]:
    decoder = Decoder()
    ready: list[ServerSentEvent] = []
    count = 0
    loop = asyncio.get_running_loop()
    _readers[loop] = _readers.get(loop, 0) + 1
    try:
        while True:
            try:
                async with asyncio.timeout(timeout):
                    while not ready:
                        received = decoder.feed(await anext(stream))
                        ready += [event for event in received if signals or not _is_signal(event)]
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise AssertionError(
                    f"No event came within {timeout} seconds, after {count}. "
                    "Was it published after the request, and to a topic of the stream?"
                ) from None
            count += 1
            yield ready.pop(0)
    finally:
        await stream.aclose()
        _readers[loop] -= 1
        if not _readers[loop]:
            await runtime.stop()


def _is_signal(event: ServerSentEvent) -> bool:
    return event.type.startswith(SIGNAL_TYPES)
