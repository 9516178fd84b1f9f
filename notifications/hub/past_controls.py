"""Control entries that the log has from before this process: whom they concern may matter still."""

from collections.abc import Callable, Sequence

from notifications.log.entries import ControlEntry

observers: list[Callable[[ControlEntry], object]] = []
"""Called with each of them, in their order, while a process loads its window."""


def observe(controls: Sequence[ControlEntry]) -> None:
    for control in controls:
        for observer in observers:
            observer(control)
