"""The order of tests: each server starts for many of them, and no process idles at the end.

pytest-randomly shuffles all modules. Here the modules of a folder come together again, in their
random order, because they share the fixtures of their folder. With `--dist loadfile` each process
then stays in a folder as long as that has modules.
"""

import os
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

SHORT = "tests/unit/"
LONG = tuple(
    f"{SHORT}{name}/" for name in ("benchmarks", "compat", "inbox", "log", "publishing/outbox")
)
"""Unit tests take a second or two for a module, except in folders that start servers or other
processes. Short ones come last, so that all processes end at about the same time."""

MORE_PROCESSES = 2


def folder_of(name: str) -> str:
    """The folder of a test, from its id or from its path below the checkout."""
    return name.split("::", 1)[0].rpartition("/")[0]


def is_short(folder: str) -> bool:
    return f"{folder}/".startswith(SHORT) and not f"{folder}/".startswith(LONG)


class LoadFolderScheduling(LoadFileScheduling):  # type: ignore[misc] # xdist has no types
    """A process stays in its folder, and then prefers one that no other process is in."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._folders: dict[Any, str] = {}

    def _assign_work_unit(self, node: Any) -> None:
        own = self._folders.get(node)
        others = set(self._folders.values())

        def preference(scope: str) -> tuple[bool, bool, bool]:
            folder = folder_of(scope)
            return folder != own, is_short(folder), folder in others

        chosen = min(self.workqueue, key=preference)  # the first of those that it prefers
        self._folders[node] = folder_of(chosen)
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """For `-n auto`: more processes than cores, because tests wait more than they work."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return (os.cpu_count() or 1) + MORE_PROCESSES


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFolderScheduling | None:
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # it would sort modules by their number of tests
    return LoadFolderScheduling(config, log)


@pytest.hookimpl(trylast=True)  # after pytest-randomly
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folders = [folder_of(item.nodeid) for item in items]
    order = {folder: number for number, folder in enumerate(dict.fromkeys(folders))}

    def key(item: pytest.Item) -> tuple[bool, int]:
        folder = folder_of(item.nodeid)
        return is_short(folder), order[folder]

    items.sort(key=key)
