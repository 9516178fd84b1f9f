"""What a process runs to serve streams: the log's tail, the hub, and the keep-alives.

One for each event loop. It starts when a server says so (ASGI lifespan) or when it is first needed,
since not every server speaks lifespan, and ends with `stop` or with the loop.
"""

import asyncio
import logging
import random
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from contextvars import Context

from notifications.conf import Settings, get_settings
from notifications.errors import Unavailable
from notifications.hub.drain import close_all, drain
from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.enforcement import Enforcement
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.keepalive import KeepAlive
from notifications.hub.metrics_exporter import Exporter, is_possible
from notifications.hub.quotas import Quotas
from notifications.hub.scheduling import TimeSlice
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.hub.window import Window
from notifications.log.base import EVERYONE, Control, Gap, Log, Order, ResetReason
from notifications.log.cursors import Cursor, position_ms
from notifications.log.factory import open_log, retention
from notifications.transport.base import Transport

logger = logging.getLogger("carillon")

LOAD_PAUSE = 0.5


class Runtime:
    def __init__(self, settings: Settings, log: Log) -> None:
        self.log = log
        self._settings = settings
        self._hub: Hub | None = None
        self._keepalive: KeepAlive | None = None
        self._enforcement: Enforcement | None = None
        self._exporter: Exporter | None = None
        self.quotas = Quotas(settings)
        self._loaded = asyncio.Event()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._spawn(self._run())
        for service in services:
            self._spawn(service(settings))

    @property
    def ready(self) -> bool:
        """Whether new streams are served here: the window was loaded, and nothing is draining."""
        return self._loaded.is_set() and not self._stopping

    async def wait_ready(self, *, timeout: float) -> bool:
        if not self._loaded.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._loaded.wait()
            except TimeoutError:
                return False
        return self.ready

    @property
    def refusal(self) -> CloseReason:
        """Why no stream is served here while it is not `ready`."""
        return CloseReason.DRAINING if self._stopping else CloseReason.STARTING

    @property
    def hub(self) -> Hub:
        """Raises `RuntimeError` while not `ready`."""
        if self._hub is None:
            raise RuntimeError("The window has not been loaded.")
        return self._hub

    def subscribe(
        self,
        grant: Grant,
        transport: Transport,
        start: Start,
        *,
        encoder: Encoder = PLAIN,
        names: tuple[str, ...] = (),
    ) -> Subscriber:
        """`names`: as the quotas have them, which the caller has asked."""
        subscriber = self.hub.subscribe(
            frozenset(grant.topics),
            transport,
            start,
            encoder=encoder,
            denied=grant.denied,
            since=grant.since,
            subjects=grant.subjects,
        )
        if subscriber.open:
            self.quotas.take(subscriber, names)
        if self._keepalive is not None and self._enforcement is not None:
            self._keepalive.add(subscriber)
            self._enforcement.add(subscriber, grant)
        if subscriber.position > self.hub.head.position:
            self._spawn(self._verify(subscriber, Cursor(self.hub.head.epoch, subscriber.position)))
        return subscriber

    def export(self) -> None:
        """Bring the metrics up to date."""
        if self._exporter is not None:
            self._exporter.tell()

    async def drain(self, *, over: float) -> None:
        """Take no new streams, and close those there are, spread over so many seconds.

        All else goes on: publishing, and the requests that are under way.
        """
        self._stopping = True
        if self._hub is not None:
            await drain(self._hub, over=over)

    async def stop(self) -> None:
        """Close every stream, then everything else."""
        self._stopping = True
        if self._hub is not None:
            await close_all(self._hub, CloseReason.STOPPING)
        self.export()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        async with self.log:
            reason: ResetReason | None = None
            while True:
                try:
                    epoch, window = await self._load()
                except Unavailable as error:
                    logger.warning("window.unavailable error=%r", error.detail)
                    await asyncio.sleep(LOAD_PAUSE * random.uniform(0.5, 1.5))
                    continue
                await self._install(epoch, window, reason)
                try:
                    reason = await self._follow()
                except Exception:
                    # Whatever it was, streams must not go on as if all were well.
                    logger.exception("tail.failed")
                    reason = ResetReason.UNKNOWN
                    await asyncio.sleep(LOAD_PAUSE)
                logger.warning("log.gap reason=%s", reason)

    async def _load(self) -> tuple[str, Window]:
        state = await self.log.state()
        window = Window(retention(self._settings))
        time_slice = TimeSlice()
        async with aclosing(self.log.read(until=state.position)) as history:
            async for batch in history:
                window.append(batch)
                while window.trim(now_ms=position_ms(window.head)) or time_slice.due:
                    await time_slice.take()
        if window.head != state.position:
            window.restart(state.position)
        logger.info("window.loaded events=%d bytes=%d", len(window), window.size)
        return state.epoch, window

    async def _install(self, epoch: str, window: Window, reason: ResetReason | None) -> None:
        if self._hub is not None:
            await self._hub.reload(epoch, window, reason or ResetReason.UNKNOWN)
            await self._obey([Control(Order.RECHECK, (EVERYONE,), "")])
            return
        self._hub = Hub(epoch, window)
        self._keepalive = KeepAlive(
            self._hub,
            period=self._settings.KEEPALIVE,
            write_deadline=self._settings.WRITE_DEADLINE,
            max_age=self._settings.MAX_STREAM_AGE,
        )
        self._hub.left.append(self.quotas.release)
        self._enforcement = Enforcement(self._hub, max_age=self._settings.GRANT_MAX_AGE)
        self._spawn(self._keepalive.run())
        self._spawn(self._enforcement.run())
        if is_possible():
            self._exporter = Exporter(self._hub, self.log)
            self._spawn(self._exporter.run())
        self._loaded.set()

    async def _follow(self) -> ResetReason:
        """Bring what the tail reads to the hub, until there is a gap."""
        async with aclosing(self.log.tail(self.hub.head)) as tail:
            async for said in tail:
                if isinstance(said, Gap):
                    return said.reason
                # First, since who may not hear any more should not hear these events either.
                await self._obey(said.controls)
                await self.hub.deliver(said)
        raise AssertionError("A tail ends with a gap.")

    def order(self, control: Control) -> None:
        """Carry out what this process knows before the log does. From any thread."""
        with suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(lambda: self._spawn(self._obey([control])))

    async def _obey(self, controls: Sequence[Control]) -> None:
        for control in controls:
            for heed in control_observers:
                heed(control)
        if controls and self._enforcement is not None:
            await self._enforcement.obey(controls)

    async def _verify(self, subscriber: Subscriber, cursor: Cursor) -> None:
        """A cursor ahead of this process: the log knows it, or the subscriber is told to reset."""
        while subscriber.open and self.hub.head.epoch == cursor.epoch:
            try:
                state = await self.log.state()
            except Unavailable:
                await asyncio.sleep(LOAD_PAUSE * random.uniform(0.5, 1.5))
                continue
            if state.epoch == cursor.epoch and state.position < cursor.position:
                self.hub.reset(subscriber, ResetReason.UNKNOWN)
            return

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        # With an empty context, since what starts all this may be the first request that needs it.
        task = asyncio.get_running_loop().create_task(coroutine, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.critical("runtime.failed", exc_info=error)


control_observers: list[Callable[[Control], object]] = []
"""Called with each control entry that comes by, before streams are ended by it."""

services: list[Callable[[Settings], Coroutine[None, None, None]]] = []
"""What runs beside the hub of each event loop, from the runtime's start to its end.

An application adds to this list when Django loads it, because the hub must not import what stands
on it. A service is cancelled when the runtime stops.
"""

_runtimes: dict[AbstractEventLoop, Runtime] = {}


def here() -> Runtime | None:
    """The runtime of the running event loop, if it has been started."""
    return _runtimes.get(asyncio.get_running_loop())


def start() -> Runtime:
    """The runtime of the running event loop, started if need be."""
    loop = asyncio.get_running_loop()
    runtime = _runtimes.get(loop)
    if runtime is None:
        for closed in [known for known in _runtimes if known.is_closed()]:
            del _runtimes[closed]
        settings = get_settings()
        runtime = _runtimes[loop] = Runtime(settings, open_log(settings))
    return runtime


def order(control: Control) -> None:
    """Have every event loop of this process carry it out at once. From any thread."""
    for runtime in list(_runtimes.values()):
        runtime.order(control)


async def stop() -> None:
    """Stop the runtime of the running event loop, if there is one."""
    runtime = _runtimes.pop(asyncio.get_running_loop(), None)
    if runtime is not None:
        await runtime.stop()
