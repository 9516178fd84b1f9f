"""Reading a stream that `AsyncClient` was answered with."""

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

TIMEOUT = 5.0
SIGNALS = "stream."

# How many read in each event loop: what they read from ends with the last of them.
_readers: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()


@overload
def read_events(
    response: HttpResponseBase, *, timeout: float = TIMEOUT, signals: bool = False
) -> AsyncGenerator[ServerSentEvent]: ...
@overload
def read_events(
    response: HttpResponseBase, count: int, *, timeout: float = TIMEOUT, signals: bool = False
) -> Coroutine[Any, Any, list[ServerSentEvent]]: ...
def read_events(
    response: HttpResponseBase,
    count: int | None = None,
    *,
    timeout: float = TIMEOUT,
    signals: bool = False,
) -> AsyncGenerator[ServerSentEvent] | Coroutine[Any, Any, list[ServerSentEvent]]:
    """`await` the next `count` events, or iterate over all with `async for`.

    With `signals`, the service's own (`stream.cursor`, …) are among them. Afterwards the stream is
    closed, and nothing of it is left in the event loop. Raises `AssertionError` where the response
    is no stream, where it ends before `count`, and where `timeout` seconds pass without an event.
    """
    if not isinstance(response, EventStreamResponse):
        content = getattr(response, "content", b"").decode(errors="replace")
        raise AssertionError(  # noqa: TRY004 - what the test asserts is that it is one
            f"This is no event stream, but {response.status_code}: {content}"
        )
    events = _each(response.stream, timeout, signals=signals)
    return events if count is None else _some(events, count)


async def _some(events: AsyncGenerator[ServerSentEvent], count: int) -> list[ServerSentEvent]:
    read: list[ServerSentEvent] = []
    async with aclosing(events):
        while len(read) < count:
            try:
                read.append(await anext(events))
            except StopAsyncIteration:
                raise AssertionError(f"The stream ended; of {count} events it had {read}") from None
    return read


async def _each(
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
                        new = decoder.feed(await anext(stream))
                        ready += [each for each in new if signals or not _is_signal(each)]
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise AssertionError(
                    f"No event came within {timeout} seconds, after {count}. "
                    "Is it published after the request, and to a topic of the stream?"
                ) from None
            count += 1
            yield ready.pop(0)
    finally:
        await stream.aclose()
        _readers[loop] -= 1
        if not _readers[loop]:
            await runtime.stop()


def _is_signal(event: ServerSentEvent) -> bool:
    return event.type.startswith(SIGNALS)
