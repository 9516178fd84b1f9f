"""Whether threads run, by the options that uWSGI's own module `uwsgi` has inside of it."""

import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from notifications.publishing.uwsgi import threads_run


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    threads_run.cache_clear()
    yield
    threads_run.cache_clear()


def test_threads_run_outside_of_uwsgi() -> None:
    assert threads_run()


@pytest.mark.parametrize(
    ("options", "run"),
    [
        ({"http": b":80", "processes": b"4"}, False),
        ({"enable-threads": True}, True),
        ({"threads": b"2"}, True),
        ({b"threads": b"2"}, True),
    ],
)
def test_threads_run_in_uwsgi_only_by_an_option(
    options: dict[Any, Any], run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=options))
    assert threads_run() is run
