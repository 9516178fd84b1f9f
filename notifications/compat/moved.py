"""Modules that are known at another path too.

Those that documentation once named elsewhere go in version 1.0.

`notifications.responses` and a few others moved when the package got its present layout. An import
of the old path still works: the finder below makes a module with the names of the new one, and
warns. A finder and not one module for each path, because the package would be full of them.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "notifications.identities": "notifications.access.identities",
    "notifications.identities.links": "notifications.access.identities.signed_links",
    "notifications.logs": "notifications.telemetry.logs",
    "notifications.onloop": "notifications.asgi.marker",
    "notifications.outbox": "notifications.publishing.outbox",
    "notifications.pytest_plugin": "notifications.testing.pytest_plugin",
    "notifications.redaction": "notifications.telemetry.redaction",
    "notifications.responses": "notifications.asgi.responses",
    "notifications.websockets": "notifications.websocket",
    "notifications.websockets.application": "notifications.websocket.application",
    "notifications.websockets.origins": "notifications.websocket.origins",
    "notifications.wires": "notifications.transport",
    "notifications.wires.base": "notifications.transport.base",
}
ADOPTED = {"notifications.signals": "notifications.compat.community"}
"""Paths of another package with our import name, for code that cannot know which one it has."""
RENAMED = {
    "notifications.onloop": {"runs_on_loop": "nonblocking"},
    "notifications.wires.base": {"Wire": "Transport"},
}


class _AliasLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        new = (MOVED | ADOPTED)[old]
        if old in MOVED:
            # Level 2 is the import statement: `warnings` does not count the frames of importlib.
            warnings.warn(
                f"{old} has moved to {new}; the old path goes in Carillon 1.0.",
                DeprecationWarning,
                stacklevel=2,
            )
        moved = vars(import_module(new))
        for name, value in moved.items():
            if not (name.startswith("__") and name.endswith("__")):
                setattr(module, name, value)
        for name, now in RENAMED.get(old, {}).items():
            setattr(module, name, moved[now])


class _MovedFinder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in MOVED and name not in ADOPTED:
            return None
        is_package = any(other.startswith(f"{name}.") for other in MOVED)
        return ModuleSpec(name, _AliasLoader(), is_package=is_package)


def install() -> None:
    """Let the old paths be imported. Idempotent."""
    if not any(isinstance(finder, _MovedFinder) for finder in sys.meta_path):
        sys.meta_path.append(_MovedFinder())
