"""One template that is being rendered, in a greenlet that pauses when the template has to wait.

So Django's own code renders, with every tag and filter as it is, and still the event loop is free
while the template waits for a value.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from contextvars import copy_context
from functools import partial
from inspect import isawaitable, iscoroutine
from operator import attrgetter
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db.models import QuerySet
from django.utils.functional import LazyObject
from django.utils.safestring import SafeString
from greenlet import GreenletExit, getcurrent, greenlet

MAX_PIECE_CHARACTERS = 8 * 1024
"""A piece of this length is sent, although the template has not had to wait."""

_PLAIN_TYPES = frozenset({str, SafeString, int, float, bool, type(None), dict, list, tuple})


def current_rendering() -> "TemplateRendering | None":
    """The rendering whose greenlet runs this code, if any."""
    current = getcurrent()
    return current if isinstance(current, TemplateRendering) else None


def is_only_async_iterable(value: object) -> bool:
    """Whether the items of the value can only be had by waiting."""
    return hasattr(type(value), "__aiter__") and not hasattr(type(value), "__iter__")


class TemplateRendering(greenlet):  # type: ignore[misc]
    """Switching to it returns text to send, or an awaitable whose result it waits for.

    It pushes everything that has to be closed at the end onto `stack`.
    """

    def __init__(self, render: Callable[[], str], stack: AsyncExitStack) -> None:
        super().__init__()
        # So a language that the template activates stays inside it.
        self.gr_context = copy_context()
        self._render = render
        self._stack = stack
        self._text: list[str] = []
        self._characters = 0
        self._outcomes: dict[int, tuple[object, Callable[[], Any]]] = {}
        self._items_of_iterators: dict[int, AwaitedItems] = {}
        self.is_streaming = True
        """Whether text is sent as it is rendered, and not returned to a node that may change it."""

    def run(self) -> str:
        self.write(self._render())
        return self._take_text()

    def without_streaming[**P, R](
        self, render: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call `render` so that its text is returned, as in Django, and not sent."""
        before, self.is_streaming = self.is_streaming, False
        try:
            return render(*args, **kwargs)
        finally:
            self.is_streaming = before

    def write(self, text: str) -> None:
        self._text.append(text)
        self._characters += len(text)
        if self._characters >= MAX_PIECE_CHARACTERS:
            self._switch_to_parent(self._take_text())

    def _take_text(self) -> str:
        text = "".join(self._text)
        self._text.clear()
        self._characters = 0
        return text

    def _flush(self) -> None:
        if self._text:
            self._switch_to_parent(self._take_text())

    def _switch_to_parent(self, output: Any) -> Any:
        assert self.parent is not None
        return self.parent.switch(output)

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """The result of the awaitable. Text that is ready is sent before."""
        try:
            self._flush()
        except GreenletExit:
            if iscoroutine(awaitable):
                awaitable.close()
            raise
        return self._switch_to_parent(awaitable)

    def wait_for_next(self, source: AsyncIterator[Any]) -> Any:
        """The next item. Raises `StopAsyncIteration`."""
        self._flush()
        return self._switch_to_parent(anext(source))

    def call[**P, R](self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function, in a thread if it may not be called in an event loop, as the ORM."""
        try:
            return function(*args, **kwargs)
        except SynchronousOnlyOperation:
            result: R = self.wait(sync_to_async(function)(*args, **kwargs))
            return result

    def awaited(self, value: Any) -> Any:
        """The value, or the result of an awaitable: awaited once, since a coroutine runs once."""
        return self._once(value, lambda: self.wait(value)) if _is_awaitable(value) else value

    def awaited_unshared(self, value: Any) -> Any:
        """As `awaited`, for a value that nothing else refers to: its result is not remembered."""
        return self.wait(value) if _is_awaitable(value) else value

    def fully_awaited(self, value: Any) -> Any:
        """The value as synchronous code can use it: awaited, read to its end, fetched."""
        value = self.awaited(value)
        if type(value) in _PLAIN_TYPES:
            return value
        if issubclass(type(value), LazyObject):
            with suppress(Exception):  # raised again where the object is used, if it is
                self.call(attrgetter("__class__"), value)
        elif is_only_async_iterable(value):
            return self._once(
                value, lambda: [self.fully_awaited(item) for item in self.items(value)]
            )
        elif isinstance(value, QuerySet):
            return self._once(value, lambda: self.wait(_fetched(value)))
        return value

    def items(self, iterable: Any) -> "AwaitedItems":
        """The items of an async iterable. An iterator runs once, so its items are remembered."""
        source = aiter(iterable)
        if source is not iterable:
            return self._open_items(source, keep=False)
        if id(source) not in self._items_of_iterators:
            self._items_of_iterators[id(source)] = self._open_items(source, keep=True)
        return self._items_of_iterators[id(source)]

    def _open_items(self, source: Any, *, keep: bool) -> "AwaitedItems":
        if hasattr(source, "aclose"):
            self._stack.push_async_callback(source.aclose)
        return AwaitedItems(partial(self.wait_for_next, source), keep=keep)

    def _once(self, owner: object, make: Callable[[], Any]) -> Any:
        if id(owner) not in self._outcomes:
            self._outcomes[id(owner)] = owner, _outcome(make)
        return self._outcomes[id(owner)][1]()


class AwaitedItems:
    """The items of an async iterator, each waited for when it is asked for, and not before.

    If they are kept, the template can loop over them as often as over a list; if not, once.
    """

    def __init__(self, wait_for_next: Callable[[], Any], *, keep: bool) -> None:
        self._wait_for_next = wait_for_next
        self._keep = keep
        self._buffer: deque[Any] = deque()
        self._removed = 0
        self._ended = False

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while self.has(position):
            yield self._buffer[position - self._removed]
            position += 1
            if not self._keep:
                self._buffer.popleft()
                self._removed += 1

    def has(self, position: int) -> bool:
        """Whether there is an item at the position. Waits until that is known."""
        while self._received <= position and not self._ended:
            try:
                self._buffer.append(self._wait_for_next())
            except StopAsyncIteration:
                self._ended = True
        return position < self._received

    def count(self) -> int:
        """The number of items. Waits for all of them."""
        while not self._ended:
            self.has(self._received)
        return self._received

    @property
    def _received(self) -> int:
        return self._removed + len(self._buffer)


def _is_awaitable(value: Any) -> bool:
    kind = type(value)
    # `isawaitable` would make a lazy object load what it stands for.
    return kind not in _PLAIN_TYPES and not issubclass(kind, LazyObject) and isawaitable(value)


def _outcome(make: Callable[[], Any]) -> Callable[[], Any]:
    try:
        value = make()
    except Exception as error:  # noqa: BLE001 - raised at each use of the value
        raised = error

        def fail() -> Any:
            raise raised

        return fail
    return lambda: value


async def _fetched(queryset: QuerySet[Any]) -> QuerySet[Any]:
    async for _ in queryset:
        break
    return queryset
