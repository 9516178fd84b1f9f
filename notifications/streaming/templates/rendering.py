"""One template being rendered, in a greenlet that is left wherever there is something to wait for.

So it is Django's own code that renders, every tag and filter of whomever as it is, and still the
event loop is free while a value is waited for.
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

LARGE = 8 * 1024
"""So many characters go out, though nothing has to be waited for."""

_PLAIN = frozenset({str, SafeString, int, float, bool, type(None), dict, list, tuple})


def is_unread(value: object) -> bool:
    """Whether its items can only be had by waiting."""
    return hasattr(type(value), "__aiter__") and not hasattr(type(value), "__iter__")


class Items:
    """Each is waited for when it is asked for, and not before.

    All can be looped over as often as a list if they are kept, and once if not.
    """

    def __init__(self, wait_for_next: Callable[[], Any], *, keep: bool) -> None:
        self._wait_for_next = wait_for_next
        self._keep = keep
        self._here: deque[Any] = deque()
        self._gone = 0
        self._ended = False

    def __iter__(self) -> Iterator[Any]:
        position = 0
        while self.has(position):
            yield self._here[position - self._gone]
            position += 1
            if not self._keep:
                self._here.popleft()
                self._gone += 1

    def has(self, position: int) -> bool:
        """Whether there is an item there: as long as that is not known, it is waited for."""
        while self._gone + len(self._here) <= position and not self._ended:
            try:
                self._here.append(self._wait_for_next())
            except StopAsyncIteration:
                self._ended = True
        return position < self._gone + len(self._here)

    def count(self) -> int:
        """How many there are, once all are there."""
        while not self._ended:
            self.has(self._gone + len(self._here))
        return self._gone + len(self._here)


class Rendering(greenlet):  # type: ignore[misc]
    """Switching to it gives text to send, or something to await and to come back with.

    What is to be closed at the end is pushed onto `stack`.
    """

    def __init__(self, render: Callable[[], str], stack: AsyncExitStack) -> None:
        super().__init__()
        # A language that a template activates is not its reader's.
        self.gr_context = copy_context()
        self._render = render
        self._stack = stack
        self._text: list[str] = []
        self._size = 0
        self._known: dict[int, tuple[object, Callable[[], Any]]] = {}
        self._iterators: dict[int, Items] = {}
        self.is_open = True
        """Whether what is rendered now goes out as it is, and not into another node's hands."""

    def run(self) -> str:
        self.write(self._render())
        return self._taken()

    def whole[**P, R](self, render: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What it renders: returned, as Django does, and not sent."""
        before, self.is_open = self.is_open, False
        try:
            return render(*args, **kwargs)
        finally:
            self.is_open = before

    def write(self, text: str) -> None:
        self._text.append(text)
        self._size += len(text)
        if self._size >= LARGE:
            self._leave(self._taken())

    def _taken(self) -> str:
        text = "".join(self._text)
        self._text.clear()
        self._size = 0
        return text

    def _leave(self, said: Any) -> Any:
        assert self.parent is not None
        return self.parent.switch(said)

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Its result. What is ready goes out before."""
        try:
            self._flush()
        except GreenletExit:
            if iscoroutine(awaitable):
                awaitable.close()
            raise
        return self._leave(awaitable)

    def wait_for_next(self, source: AsyncIterator[Any]) -> Any:
        """The next item. Raises `StopAsyncIteration`."""
        self._flush()
        return self._leave(anext(source))

    def _flush(self) -> None:
        if self._text:
            self._leave(self._taken())

    def unblocked[**P, R](self, do: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What it returns: in a thread if it must not be called in an event loop, as the ORM."""
        try:
            return do(*args, **kwargs)
        except SynchronousOnlyOperation:
            result: R = self.wait(sync_to_async(do)(*args, **kwargs))
            return result

    def awaited(self, value: Any) -> Any:
        """The value, or what it stands for: once, since a coroutine can be awaited once."""
        return self._once(value, lambda: self.wait(value)) if _is_awaitable(value) else value

    def fresh(self, value: Any) -> Any:
        """Likewise, where nobody else has it."""
        return self.wait(value) if _is_awaitable(value) else value

    def settled(self, value: Any) -> Any:
        """The value as any code may use it: awaited, read to its end, fetched."""
        value = self.awaited(value)
        if type(value) in _PLAIN:
            return value
        if issubclass(type(value), LazyObject):
            with suppress(Exception):  # it comes up again where it is used, if it is
                self.unblocked(attrgetter("__class__"), value)
        elif is_unread(value):
            return self._once(value, lambda: [self.settled(each) for each in self.items(value)])
        elif isinstance(value, QuerySet):
            return self._once(value, lambda: self.wait(_fetched(value)))
        return value

    def items(self, iterable: Any) -> Items:
        """The items of an async iterable. An iterator comes once, so its items are remembered."""
        source = aiter(iterable)
        if source is not iterable:
            return self._opened(source, keep=False)
        if id(source) not in self._iterators:
            self._iterators[id(source)] = self._opened(source, keep=True)
        return self._iterators[id(source)]

    def _opened(self, source: Any, *, keep: bool) -> Items:
        if hasattr(source, "aclose"):
            self._stack.push_async_callback(source.aclose)
        return Items(partial(self.wait_for_next, source), keep=keep)

    def _once(self, owner: object, make: Callable[[], Any]) -> Any:
        if id(owner) not in self._known:
            self._known[id(owner)] = owner, _outcome(make)
        return self._known[id(owner)][1]()


def _is_awaitable(value: Any) -> bool:
    kind = type(value)
    # To ask a lazy object what it is makes it.
    return kind not in _PLAIN and not issubclass(kind, LazyObject) and isawaitable(value)


def _outcome(make: Callable[[], Any]) -> Callable[[], Any]:
    try:
        value = make()
    except Exception as error:  # noqa: BLE001 - raised whenever it is asked for
        raised = error

        def fail() -> Any:
            raise raised

        return fail
    return lambda: value


async def _fetched(queryset: QuerySet[Any]) -> QuerySet[Any]:
    async for _ in queryset:
        break
    return queryset


def current_rendering() -> Rendering | None:
    """The one that runs here, if any does."""
    current = getcurrent()
    return current if isinstance(current, Rendering) else None
