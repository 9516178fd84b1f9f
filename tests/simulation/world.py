"""The simulated world: one clock, and an event loop for each process, all in this thread.

Time passes only when nobody can run, so an hour takes as long as its work. A process is an event
loop of its own: it is frozen (SIGSTOP) by not running its loop, and killed by never running it
again, whatever its tasks and their `finally` blocks had in mind. Within a loop callbacks run in
asyncio's order, since code may rely on that; which loop runs next is chosen by the seed.

An own loop, and not one from PyPI. looptime gives one loop a virtual clock, and no processes.
simloom has hosts, but all of them share a loop, in which it also reorders what asyncio runs in
order; it cannot freeze a host; and an iteration of its loop takes 50 µs, which is 10 times as long.
"""

import asyncio
import gc
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from random import Random
from typing import Any

MAX_ITERATIONS_AT_ONCE = 100_000
"""Of the loops, while the clock stands still: more would never end."""
MAX_LAST_ITERATIONS = 1_000
WALL_CLOCK_START = 1_800_000_000.0
"""Seconds since 1970."""


class Stuck(Exception):
    """The processes run and run, and no time passes."""


class World:
    """`now`: seconds since the world began. What is random in it follows from `seed`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now = 0.0
        self.loops: list[Loop] = []
        self.faults: list[str] = []
        """What a callback or a task raised and nobody caught."""
        self.runnable: dict[Loop, None] = {}
        self._timers: list[tuple[float, int, Loop | None, Any]] = []
        self._count = 0
        self._order = self.random("order")

    def random(self, name: str) -> Random:
        """A source of its own for each purpose: what is left out elsewhere does not change it."""
        return Random(f"{self.seed} {name}")

    def wall_clock(self) -> float:
        return WALL_CLOCK_START + self.now

    def add_timer(self, when: float, loop: "Loop | None", call: Any) -> None:
        """`call`: a handle of the loop, or without one what the world itself calls."""
        self._count += 1
        heappush(self._timers, (when, self._count, loop, call))

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Have the world itself call something: the network, a server, a person."""
        self.add_timer(self.now + seconds, None, call)

    def run(self, until: float) -> None:
        """Run everything up to a time."""
        iterations = 0
        while True:
            if self.runnable:
                iterations += 1
                if iterations > MAX_ITERATIONS_AT_ONCE:
                    raise Stuck(f"at {self.now:.6f} s")
                loops = list(self.runnable)
                loop = loops[0] if len(loops) == 1 else self._order.choice(loops)
                loop.iterate()
                continue
            if not self._timers or self._timers[0][0] > until:
                break
            when, _, owner, call = heappop(self._timers)
            if when > self.now:
                self.now, iterations = when, 0
            if owner is None:
                call()
            elif not call.cancelled():
                owner.make_ready(call)
        self.now = until

    def end(self) -> None:
        """End every task, so that nothing of this world is left for the next."""
        for loop in self.loops:
            loop.end()
        self._timers.clear()


_Base: Any = asyncio.AbstractEventLoop  # of its methods, only these few are needed


class Loop(_Base):  # type: ignore[misc]
    """The event loop of one process. `connect` makes its connections."""

    def __init__(self, world: World, name: str, connect: Callable[..., Any]) -> None:
        self.name = name
        self._world = world
        self._connect = connect
        self._ready: deque[asyncio.Handle] = deque()
        self._frozen = False
        self._dead = False
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        world.loops.append(self)

    # What the world does

    def make_ready(self, handle: asyncio.Handle) -> None:
        self._ready.append(handle)
        if not (self._frozen or self._dead):
            self._world.runnable[self] = None

    def iterate(self) -> None:
        """Run what was ready before, as one iteration of asyncio's own loop does."""
        ready = self._ready
        asyncio._set_running_loop(self)
        try:
            for _ in range(len(ready)):
                handle = ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)
        if not ready or self._frozen or self._dead:
            self._world.runnable.pop(self, None)

    def freeze(self) -> None:
        """The process gets no time (SIGSTOP): what becomes ready waits."""
        self._frozen = True
        self._world.runnable.pop(self, None)

    def thaw(self) -> None:
        self._frozen = False
        if self._ready and not self._dead:
            self._world.runnable[self] = None

    def kill(self) -> None:
        """The process is gone (SIGKILL): none of its tasks ever runs again."""
        self._dead = True
        self._world.runnable.pop(self, None)

    def end(self) -> None:
        self._frozen = self._dead = True
        for _ in range(MAX_LAST_ITERATIONS):
            tasks = [task for task in self._tasks.values() if not task.done()]
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.iterate()
        self._ready.clear()

    # What asyncio and its users call

    def time(self) -> float:
        return self._world.now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.make_ready(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._world.add_timer(when, self, handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._world.now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: Any = None, context: Any = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks[id(task)] = task
        task.add_done_callback(lambda done: self._tasks.pop(id(done), None))
        return task

    async def create_connection(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        return await self._connect(self, protocol_factory, *args)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._dead:
            error = context.get("exception")
            self._world.faults.append(f"{self.name}: {context['message']}: {error!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self._dead


def without_garbage_collection(call: Callable[[], Any]) -> Any:
    """Collect garbage only after the call, because that comes at no moment of a seed.

    A process that was killed has closed nothing, and redis-py warns of that.
    """
    gc.disable()
    gc.freeze()  # what was there before is not searched
    try:
        result = call()
        with warnings.catch_warnings(action="ignore"):
            gc.collect()
        return result
    finally:
        gc.unfreeze()
        gc.enable()
