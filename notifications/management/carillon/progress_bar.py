"""Bars for the terminal: a line for each piece of work, drawn again where it stands."""

import shutil
from collections.abc import Callable, Mapping
from typing import Any

from notifications.publishing.progress import State

WIDTH = 24
STEP = 10
"""Per cent, where lines cannot be drawn again, that a new one takes."""


class Bars:
    """Where nothing can be drawn again: a line when work begins, ends, or got a good deal on."""

    def __init__(self, write: Callable[[str], object], *, redraws: bool) -> None:
        self._write = write
        self._redraws = redraws
        self._lines: list[str] = []  # the jobs, from the top
        self._said: dict[str, tuple[object, int]] = {}

    def show(self, topic: str, data: Mapping[str, Any]) -> None:
        job, state = str(data.get("job", "")), data.get("state")
        line = bar(topic, data)
        if self._redraws:
            self._draw(job, line[: shutil.get_terminal_size().columns - 1])
        else:
            said = state, int(_number(data.get("percent")) // STEP)
            if self._said.get(job) != said:
                self._said[job] = said
                self._write(f"{line}\n")
        if state in (State.DONE, State.FAILED):
            self._said.pop(job, None)

    def _draw(self, job: str, line: str) -> None:
        if job not in self._lines:
            self._lines.append(job)
            self._write(f"{line}\n")
            return
        # Above the screen nothing can be drawn: such a line is lost, and the next begins anew.
        up = len(self._lines) - self._lines.index(job)
        if up >= shutil.get_terminal_size().lines:
            self._lines.remove(job)
            self._draw(job, line)
            return
        self._write(f"\x1b[{up}A\r\x1b[2K{line}\x1b[{up}B\r")


def bar(topic: str, data: Mapping[str, Any]) -> str:
    """One line. Whoever publishes cannot have the terminal do anything: only text is left."""
    percent = data.get("percent")
    if percent is None:
        drawn, share = "·" * WIDTH, f"{_number(data.get('done')):g}"
    else:
        full = round(WIDTH * min(100.0, max(0.0, _number(percent))) / 100)
        drawn, share = "█" * full + "░" * (WIDTH - full), f"{_number(percent):3.0f}%"
    rate = f"{_number(data.get('rate')):.3g}/s"
    state = str(data.get("state", ""))
    ended = "" if state == State.RUNNING else state
    words = [topic, drawn, share, rate, ended, data.get("message")]
    return _printable("  ".join(str(word) for word in words if word))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _printable(text: str) -> str:
    return "".join(each for each in text if each.isprintable())
