"""Progress: a few events for much work, an event at its end, and no wait for the work."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings as DjangoSettings

from notifications import progress, publish
from notifications.errors import Unavailable
from notifications.management.carillon.progress_bar import ProgressBars, format_bar
from notifications.publishing.progress import PROGRESS_EVENTS_PER_SECOND, Progress
from tests.harness.published import read_published_in_thread
from tests.harness.servers import free_port
from tests.unit.management.test_commands import Terminal

pytestmark = pytest.mark.usefixtures("own_log")

TOPIC = "demo.import"
DEADLINE_SECONDS = 60.0


def published() -> list[dict[str, Any]]:
    """The data of all progress events."""
    entries = read_published_in_thread()
    return [json.loads(entry.data) for entry in entries if entry.type == b"progress"]


class Failure(Exception):
    pass


def test_a_hundred_thousand_steps_are_a_few_events() -> None:
    with progress(TOPIC, total=100_000, message="Loading") as p:
        for _ in range(100_000):
            p.advance()
    events = published()
    assert 1 <= len(events) <= 2 + p.snapshot()["seconds"] * PROGRESS_EVENTS_PER_SECOND
    last = events[-1]
    assert (last["state"], last["done"], last["total"], last["percent"]) == (
        "done",
        100_000,
        100_000,
        100.0,
    )
    assert last["rate"] > 0
    assert last["message"] == "Loading"
    assert {event["job"] for event in events} == {p.id}


def test_the_start_is_published_at_once_and_each_change_soon() -> None:
    with progress(TOPIC, total=4, per_second=1000) as p:
        wait_until(lambda: any(event["state"] == "running" for event in published()))
        p.update(done=3, message="nearly")
        wait_until(lambda: any(event["percent"] == 75.0 for event in published()))
    assert [event["done"] for event in published()] == sorted(
        event["done"] for event in published()
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline


def test_work_that_raises_is_published_as_failed() -> None:
    def work() -> None:
        with progress(TOPIC, total=10) as p:
            p.advance(3)
            raise Failure

    with pytest.raises(Failure):
        work()
    assert (published()[-1]["state"], published()[-1]["done"]) == ("failed", 3)


def test_tracked_items_are_counted() -> None:
    with progress(TOPIC) as p:
        assert list(p.track(["a", "b"])) == ["a", "b"]
    assert (published()[-1]["done"], published()[-1]["total"]) == (2, 2)


def test_the_total_may_be_unknown() -> None:
    with progress(TOPIC) as p:
        assert list(p.track(iter(range(5)))) == list(range(5))
    assert (published()[-1]["done"], published()[-1]["percent"]) == (5, None)


def test_more_than_the_total_is_100_percent() -> None:
    with progress(TOPIC, total=2) as p:
        p.update(done=5)
    assert published()[-1]["percent"] == 100.0


async def test_async_work_is_published_as_well() -> None:
    async def numbers() -> AsyncIterator[int]:
        for i in range(3):
            yield i

    async with progress(TOPIC, total=3) as p:
        assert [i async for i in p.atrack(numbers())] == [0, 1, 2]
    assert [event["state"] for event in published()][-1] == "done"
    assert published()[-1]["done"] == 3


async def test_cancelled_work_is_published_as_failed() -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with progress(TOPIC):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert published()[-1]["state"] == "failed"


def test_no_thread_is_left() -> None:
    with progress(TOPIC):
        pass
    assert not any(thread.name == "carillon-progress" for thread in threading.enumerate())


def test_a_log_that_is_away_delays_the_work_only_at_its_end(
    settings: DjangoSettings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CARILLON = {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
    with Progress(TOPIC, total=1000, per_second=100, final_event_seconds=0.2) as p:
        began = time.thread_time()
        for _ in p.track(range(1000)):
            pass
        assert time.thread_time() - began < 1.0
    p._thread.join(DEADLINE_SECONDS)
    assert p.done == 1000
    assert "progress.lost" in caplog.text


def test_the_end_is_published_even_if_it_takes_another_attempt() -> None:
    attempts: list[Any] = []

    def fail_second_attempt(*args: Any, **kwargs: Any) -> Any:
        attempts.append((args[1]["state"], kwargs["idempotency_key"]))
        if len(attempts) == 2:
            raise Unavailable("away", outcome="unknown")
        return publish(*args, **kwargs)

    with Progress(TOPIC, per_second=1000, publish=fail_second_attempt):
        wait_until(lambda: len(attempts) == 1)
    assert attempts[1] == attempts[2], "the same event, by the same key"
    assert [event["state"] for event in published()] == ["running", "done"]


# In the terminal


class Screen(Terminal):
    """A terminal that knows which lines it shows."""

    def __init__(self, lines: int = 0) -> None:
        super().__init__(lines)

    def isatty(self) -> bool:
        return True

    @property
    def shown(self) -> list[str]:
        lines, row = [""], 0
        text = self.getvalue()
        while text:
            if text.startswith("\x1b["):
                end = next(i for i, c in enumerate(text[2:], 2) if c.isalpha())
                count, command = text[2:end], text[end]
                if command == "K":
                    lines[row] = ""
                else:
                    row += int(count) * {"A": -1, "B": 1}[command]
                text = text[end + 1 :]
                continue
            if text[0] == "\n":
                row += 1
                lines += [""] * (row + 1 - len(lines))
            elif text[0] != "\r":
                lines[row] += text[0]
            text = text[1:]
        return lines[:-1]


def step(job: str, percent: float | None, state: str = "running") -> dict[str, Any]:
    return {"job": job, "percent": percent, "state": state, "done": 7, "rate": 1.5, "message": job}


def test_two_pieces_of_work_have_a_line_each() -> None:
    screen = Screen()
    bars = ProgressBars(screen.write, redraws=True)
    for percent in (0, 50, 100):
        bars.show("demo.a", step("one", percent))
        bars.show("demo.b", step("two", percent / 2))
    first, second = screen.shown
    assert "100%" in first
    assert " 50%" in second
    assert first.startswith("demo.a")
    assert second.startswith("demo.b")


def test_tail_redraws_in_a_terminal() -> None:
    for percent in (0, 50, 100):
        publish(TOPIC, step("one", percent), type="progress")
    screen = Screen(3)
    call_command("carillon", "tail", TOPIC, "--since", "all", "--progress", stdout=screen)
    (line,) = screen.shown
    assert "100%" in line


def test_a_file_gets_a_line_for_every_tenth_of_the_work() -> None:
    out = StringIO()
    bars = ProgressBars(out.write, redraws=False)
    for percent in range(100):
        bars.show("demo.a", step("one", percent))
    bars.show("demo.a", step("one", 100, "done"))
    assert len(out.getvalue().splitlines()) == 11
    assert "\x1b" not in out.getvalue()
    assert "done" in out.getvalue().splitlines()[-1]


def test_a_message_cannot_command_the_terminal() -> None:
    data = {**step("x", 5), "message": "\x1b[2J\x07\r\nfine"}
    assert format_bar("demo.a", data).endswith("[2Jfine")
    assert format_bar("demo.a", {"percent": "much", "rate": None, "state": 5, "done": []})


def test_without_a_total_the_bar_shows_how_much_is_done() -> None:
    assert "  7  1.5/s" in format_bar("demo.a", step("x", None))


def test_tail_shows_bars_and_skips_other_events() -> None:
    publish("demo.import", "not this")
    publish("demo.import", [1], type="progress")
    with progress(TOPIC, total=2) as p:
        p.advance(2)
    count = len(published()) - 1
    terminal = Terminal(count)
    call_command("carillon", "tail", TOPIC, "--since", "all", "--progress", stdout=terminal)
    assert "100%" in terminal.lines[-1]
    assert "done" in terminal.lines[-1]
    assert "not this" not in terminal.getvalue()
