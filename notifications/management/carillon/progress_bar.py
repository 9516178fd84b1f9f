"""Progress bars in the terminal: one line for each job, redrawn in its position."""

import shutil
from collections.abc import Callable, Mapping
from typing import Any

from notifications.publishing.progress import ProgressState

BAR_COLUMNS = 24
STEP_PERCENT = 10
"""Where lines cannot be redrawn, a job gets a new line each time it has advanced this far."""


class ProgressBars:
    """One bar for each job.

    With `redraws` false (the output is no terminal), a job gets a line when it starts, when it
    ends, and each time it has advanced by `STEP_PERCENT`.
    """

    def __init__(self, write: Callable[[str], object], *, redraws: bool) -> None:
        self._write = write
        self._redraws = redraws
        self._lines: list[str] = []  # the jobs, from top to bottom
        self._printed: dict[str, tuple[object, int]] = {}

    def show(self, topic: str, data: Mapping[str, Any]) -> None:
        job, state = str(data.get("job", "")), data.get("state")
        line = format_bar(topic, data)
        if self._redraws:
            self._draw(job, line[: shutil.get_terminal_size().columns - 1])
        else:
            step = state, int(_number(data.get("percent")) // STEP_PERCENT)
            if self._printed.get(job) != step:
                self._printed[job] = step
                self._write(f"{line}\n")
        if state in (ProgressState.DONE, ProgressState.FAILED):
            self._printed.pop(job, None)

    def _draw(self, job: str, line: str) -> None:
        if job not in self._lines:
            self._lines.append(job)
            self._write(f"{line}\n")
            return
        # A line that has scrolled off the screen cannot be redrawn: the job gets a new line.
        up = len(self._lines) - self._lines.index(job)
        if up >= shutil.get_terminal_size().lines:
            self._lines.remove(job)
            self._draw(job, line)
            return
        self._write(f"\x1b[{up}A\r\x1b[2K{line}\x1b[{up}B\r")


def format_bar(topic: str, data: Mapping[str, Any]) -> str:
    """One line, without the control characters by which a publisher could control the terminal."""
    percent = data.get("percent")
    if percent is None:
        drawn, share = "·" * BAR_COLUMNS, f"{_number(data.get('done')):g}"
    else:
        full = round(BAR_COLUMNS * min(100.0, max(0.0, _number(percent))) / 100)
        drawn, share = "█" * full + "░" * (BAR_COLUMNS - full), f"{_number(percent):3.0f}%"
    rate = f"{_number(data.get('rate')):.3g}/s"
    state = str(data.get("state", ""))
    ended = "" if state == ProgressState.RUNNING else state
    parts = [topic, drawn, share, rate, ended, data.get("message")]
    return _printable("  ".join(str(part) for part in parts if part))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())
