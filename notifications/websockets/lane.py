"""Threads for what commands ask the database: a lane, for as long as one is needed."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from asgiref.sync import SyncToAsync, ThreadSensitiveContext

from notifications.handler.lanes import Lane, Lanes

_lanes = Lanes()


@asynccontextmanager
async def in_a_lane() -> AsyncGenerator[None]:
    """Without one, all of a process would share one thread, whose connection nobody looks after."""
    lane = Lane(_lanes, kept=False)
    context = ThreadSensitiveContext()
    token = SyncToAsync.thread_sensitive_context.set(context)
    SyncToAsync.context_to_thread_executor[context] = lane
    try:
        yield
    finally:
        SyncToAsync.thread_sensitive_context.reset(token)
        SyncToAsync.context_to_thread_executor.pop(context, None)
        lane.close()
