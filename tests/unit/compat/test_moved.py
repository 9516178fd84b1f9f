"""Import paths that documentation once named still work, with a warning."""

import sys
import warnings
from importlib import import_module
from importlib.util import find_spec

import pytest

from notifications.compat import moved

DOCUMENTED = [
    ("notifications.identities.links", "events_url"),
    ("notifications.logs", "Structured"),
    ("notifications.onloop", "runs_on_loop"),
    ("notifications.outbox", "backlog"),
    ("notifications.pytest_plugin", "carillon_outbox"),
    ("notifications.redaction", "redacted"),
    ("notifications.responses", "EventStreamResponse"),
    ("notifications.routing", "websocket_urlpatterns"),
    ("notifications.websockets.application", "events"),
    ("notifications.websockets.origins", "KnownOriginValidator"),
    ("notifications.wires.base", "Wire"),
]


@pytest.mark.parametrize(("module", "name"), DOCUMENTED)
def test_a_documented_path_still_has_its_name(module: str, name: str) -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        assert hasattr(import_module(module), name)


@pytest.mark.parametrize("old", moved.MOVED)
def test_an_old_path_warns_and_names_the_new_one(old: str) -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        import_module(old.rpartition(".")[0])
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to {moved.MOVED[old]};"):
        import_module(old)


def test_an_old_name_is_the_same_object_as_the_new_one() -> None:
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old = import_module("notifications.responses")
    new = import_module("notifications.asgi.responses")
    assert old.EventStreamResponse is new.EventStreamResponse


def test_a_path_that_never_was_is_not_found() -> None:
    assert find_spec("notifications.nothing") is None


def test_the_paths_are_found_once_however_often_they_are_installed() -> None:
    before = list(sys.meta_path)
    moved.install()
    assert sys.meta_path == before
