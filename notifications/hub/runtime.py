"""The runtime: what a process runs to serve streams: the tail, the hub, and what runs beside them.

Each event loop has its own. A runtime starts when the server starts (ASGI lifespan) or when the
first request needs it, because not every server implements lifespan. It ends with `stop` or with
the loop.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from contextvars import Context

from notifications.conf import Settings, get_settings
from notifications.errors import Unavailable
from notifications.hub import past_controls
from notifications.hub.cursor_ahead import verify_cursor
from notifications.hub.drain import close_all, drain
from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.end_notices import EndNotices
from notifications.hub.ended import EndedStreams
from notifications.hub.enforcement import Enforcement
from notifications.hub.grants import Grant
from notifications.hub.hub import Hub
from notifications.hub.keepalive import KeepAlive
from notifications.hub.metrics_exporter import MetricsExporter, is_available
from notifications.hub.quotas import Quotas
from notifications.hub.scheduling import Timing
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.hub.window import Window
from notifications.log.base import Log
from notifications.log.cursors import position_ms
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry, Gap, ResetReason
from notifications.log.factory import open_log, retention
from notifications.telemetry.logs import logger
from notifications.transport.base import Transport

RETRY_SECONDS = 0.5
"""The pause before the log is asked again, give or take a half."""

control_observers: list[Callable[[ControlEntry], object]] = []
"""Called before each control entry is applied: in its own process at once, and from the log."""

services: list[Callable[[Settings], Coroutine[None, None, None]]] = []
"""What runs beside the hub of each event loop, until the runtime stops and cancels it.

Applications add to it when Django loads them: the hub must not import the packages above it.
"""


class Runtime:
    def __init__(
        self,
        settings: Settings,
        log: Log,
        *,
        timing: Timing | None = None,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.log = log
        self._settings = settings
        self._timing = timing or Timing()
        self._retry_seconds = retry_seconds
        self._hub: Hub | None = None
        self._keepalive: KeepAlive  # these two are there as soon as the hub is
        self._enforcement: Enforcement
        self._exporter: MetricsExporter | None = None
        self.quotas = Quotas(settings, clock=self._timing.clock)
        self.end_notices = EndNotices(self._spawn)
        self._loaded = asyncio.Event()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.ended = EndedStreams(
            log, age=settings.CONTINUE_AGE, clock=self._timing.clock, spawn=self._spawn
        )
        self._spawn(self._run())
        for service in services:
            self._spawn(service(settings))

    # Serving streams

    @property
    def ready(self) -> bool:
        """Whether new streams can open: the window is loaded, and the process is not draining."""
        return self._loaded.is_set() and not self._stopping

    async def wait_loaded(self) -> None:
        await self._loaded.wait()

    async def wait_ready(self, *, timeout: float) -> bool:
        if not self._loaded.is_set():  # a timer would keep the request that asks
            with suppress(TimeoutError):
                await asyncio.wait_for(self.wait_loaded(), timeout)
        return self.ready

    @property
    def refusal(self) -> CloseReason:
        """Why no stream can open while the runtime is not `ready`."""
        return CloseReason.DRAINING if self._stopping else CloseReason.STARTING

    @property
    def hub(self) -> Hub:
        """Raises `RuntimeError` until the window is loaded."""
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
        quota_names: tuple[str, ...] = (),
    ) -> Subscriber:
        """Join the hub. `quota_names`: as `quotas.admit` returned them in this step of the loop."""
        hub = self.hub
        subscriber = hub.subscribe(
            frozenset(grant.log_topics),
            transport,
            start,
            encoder=encoder,
            denied=grant.denied,
            since=self._enforcement.replayable(grant),
            subjects=grant.log_subjects,
        )
        if subscriber.open:
            self.quotas.take(subscriber, quota_names)
        self._keepalive.add(subscriber)
        self._enforcement.add(subscriber, grant)
        if subscriber.position > hub.head.position:
            self._spawn(verify_cursor(self.log, hub, subscriber, pause=self._pause))
        return subscriber

    def export(self) -> None:
        """Bring the metrics up to date."""
        if self._exporter:
            self._exporter.export()

    # Ending

    async def drain(self, *, over: float) -> None:
        """Open no new stream, and close all, spread over `over` seconds.

        Everything else goes on: publishing, and the requests that are under way.
        """
        self._stopping = True
        if self._hub is not None:
            await drain(self._hub, over=over)

    async def stop(self) -> None:
        """Close every stream, then everything else."""
        self._stopping = True
        if self._hub is not None:
            await close_all(self._hub, CloseReason.STOPPING)
            await self.ended.flush()
        await self.end_notices.finish()
        self.export()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Following the log

    async def _run(self) -> None:
        async with self.log:
            reason, fault = ResetReason.UNKNOWN, ""
            while True:
                try:
                    epoch, window, controls = await self._load()
                except Unavailable as error:
                    if error.detail != fault:
                        fault = error.detail
                        logger.warning("window.unavailable", error=fault)
                    await self._pause()
                    continue
                if self._hub is None:
                    self._start_hub(epoch, window)
                else:  # Control entries may be among the entries that are lost or were not read.
                    await self._apply([c for c in controls if c.position > self._hub.head.position])
                    await self._hub.reload(epoch, window, reason)
                    await self._apply([ControlEntry(ControlAction.RECHECK, (EVERYONE,), "")])
                try:
                    reason = await self._follow_tail()
                except Exception:
                    # After any fault, streams must not go on as if they had every event.
                    logger.exception("tail.failed")
                    reason = ResetReason.UNKNOWN
                    await asyncio.sleep(self._retry_seconds)
                logger.warning("log.gap", reason=reason)

    async def _load(self) -> tuple[str, Window, list[ControlEntry]]:
        controls, state = list[ControlEntry](), await self.log.state()
        window = Window(retention(self._settings), wall_clock=self._timing.wall_clock)
        time_slice = self._timing.time_slice()
        async with aclosing(self.log.read(until=state.position)) as history:
            async for batch in history:
                window.append(batch)
                controls += batch.controls
                while window.trim(now_ms=position_ms(window.head)) or time_slice.expired:
                    await time_slice.pause()
        if window.head != state.position:
            window.restart(state.position)
        if self._hub is None:
            past_controls.observe(controls)
        logger.info("window.loaded", events=len(window), bytes=window.size)
        return state.epoch, window, controls

    def _start_hub(self, epoch: str, window: Window) -> None:
        hub = self._hub = Hub(epoch, window, timing=self._timing)
        self._keepalive = KeepAlive(
            hub,
            period=self._settings.KEEPALIVE,
            write_deadline=self._settings.WRITE_DEADLINE,
            max_age=self._settings.MAX_STREAM_AGE,
        )
        hub.on_leave += [self.quotas.release, self.end_notices.send]
        max_age, on_end = self._settings.GRANT_MAX_AGE, self.ended.add
        self._enforcement = Enforcement(hub, max_age=max_age, on_end=on_end)
        self._spawn(self._keepalive.run())
        self._spawn(self._enforcement.run())
        if is_available():
            check_seconds = self._settings.REDIS_IDLE_CHECK
            self._exporter = MetricsExporter(hub, self.log, check_seconds=check_seconds)
            self._spawn(self._exporter.run())
        self._loaded.set()

    async def _follow_tail(self) -> ResetReason:
        """Bring what the tail reads to the hub, until there is a gap."""
        async with aclosing(self.log.tail(self.hub.head)) as tail:
            async for item in tail:
                if isinstance(item, Gap):
                    return item.reason
                # First, because a stream whose permission ended must not get these events either.
                await self._apply(item.controls)
                await self.hub.deliver(item)
        raise AssertionError("A tail ends with a gap.")

    def apply_control(self, control: ControlEntry) -> None:
        """Apply at once what the log brings only later. Callable from any thread."""
        with suppress(RuntimeError):  # the loop has been closed
            self._loop.call_soon_threadsafe(lambda: self._spawn(self._apply([control])))

    async def _apply(self, controls: Sequence[ControlEntry]) -> None:
        for control in controls:
            for observer in control_observers:
                observer(control)
        if controls and self._hub is not None:
            await self._enforcement.apply(controls)

    async def _pause(self) -> None:
        await asyncio.sleep(self._retry_seconds * self._timing.random.uniform(0.5, 1.5))

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        # In an empty context: otherwise the task would hold that of the request that started it.
        task = asyncio.get_running_loop().create_task(coroutine, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.critical("runtime.failed", exc_info=error)


_runtimes: dict[asyncio.AbstractEventLoop, Runtime] = {}


def current() -> Runtime | None:
    """The runtime of the running event loop, if it has been started."""
    return _runtimes.get(asyncio.get_running_loop())


def start() -> Runtime:
    """The runtime of the running event loop, which starts if there is none."""
    loop = asyncio.get_running_loop()
    runtime = _runtimes.get(loop)
    if runtime is None:
        for closed in [other for other in list(_runtimes) if other.is_closed()]:
            _runtimes.pop(closed, None)
        settings = get_settings()
        runtime = _runtimes[loop] = Runtime(settings, open_log(settings))
    return runtime


def apply_control(control: ControlEntry) -> None:
    """Apply a control entry at once in every event loop of this process. From any thread."""
    for runtime in list(_runtimes.values()):
        runtime.apply_control(control)


async def stop() -> None:
    """Stop the runtime of the running event loop, if there is one."""
    runtime = current()
    if runtime is not None:
        await runtime.stop()
        # Only now, or a request that comes meanwhile would start another.
        _runtimes.pop(asyncio.get_running_loop(), None)
