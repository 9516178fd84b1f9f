"""A cancel scope ends the wait in its block, and nothing else."""

import asyncio

import pytest

from notifications.transport.cancel import CancelScope

DEADLINE_SECONDS = 60.0


async def no_wait() -> None:
    """An await that does not suspend, such as a server's `receive` after a response."""


async def test_the_wait_in_the_block_ends_without_an_error() -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        with CancelScope() as scope:
            asyncio.get_running_loop().call_soon(scope.cancel)
            await asyncio.Event().wait()
        await asyncio.sleep(0)


async def test_a_task_that_cancels_its_own_scope_does_not_wait_in_the_block() -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        with CancelScope() as scope:
            scope.cancel()
            await asyncio.Event().wait()
        await asyncio.sleep(0)


async def test_a_task_that_cancels_its_own_scope_and_never_waits_goes_on_after_the_block() -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        with CancelScope() as scope:
            scope.cancel()
            await no_wait()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_a_cancellation_by_somebody_else_passes_through_the_block() -> None:
    entered = asyncio.Event()

    async def waiting() -> None:
        with CancelScope():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(waiting())
    async with asyncio.timeout(DEADLINE_SECONDS):
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
