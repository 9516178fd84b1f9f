"""The world itself: its time, and processes that stand still or die."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.simulation.world import Loop, Stuck, World


async def no_network(*_: object) -> Any:
    raise ConnectionRefusedError


def start(world: World, name: str, main: Callable[[], Coroutine[Any, Any, None]]) -> Loop:
    loop = Loop(world, name, no_network)
    loop.call_soon(lambda: loop.create_task(main()))
    return loop


def beating(seen: list[float]) -> Callable[[], Coroutine[Any, Any, None]]:
    async def beat() -> None:
        try:
            while True:
                await asyncio.sleep(1)
                seen.append(asyncio.get_running_loop().time())
        finally:
            seen.append(-1)

    return beat


def test_time_passes_only_when_nobody_can_run() -> None:
    world, seen = World(1), list[float]()
    start(world, "a", beating(seen))
    world.run(3600)
    assert seen == list(range(1, 3601))


def test_a_frozen_process_goes_on_where_it_was() -> None:
    world, seen = World(1), list[float]()
    loop = start(world, "a", beating(seen))
    world.after(1.5, loop.freeze)
    world.after(4.5, loop.thaw)
    world.run(6)
    assert seen == [1, 4.5, 5.5]


def test_a_killed_process_does_nothing_any_more() -> None:
    world, seen, others = World(1), list[float](), list[float]()
    loop = start(world, "a", beating(seen))
    start(world, "b", beating(others))
    world.after(1.5, loop.kill)
    world.run(3)
    assert (seen, others) == ([1], [1, 2, 3])
    world.end()


def test_the_seed_orders_processes_and_asyncio_orders_callbacks() -> None:
    orders = set()
    for seed in range(20):
        world, order = World(seed), list[str]()
        for name in "ab":
            loop = Loop(world, name, no_network)
            for number in range(3):
                loop.call_soon(order.append, f"{name}{number}")
        world.run(1)
        assert [each for each in order if each[0] == "a"] == ["a0", "a1", "a2"]
        orders.add(tuple(order))
    assert len(orders) == 2


def test_a_world_without_an_end_is_reported() -> None:
    async def spin() -> None:
        while True:  # noqa: ASYNC110 - what this is about
            await asyncio.sleep(0)

    world = World(1)
    start(world, "a", spin)
    with pytest.raises(Stuck):
        world.run(1)
    world.end()
