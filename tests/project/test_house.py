"""The house keeps its shape: its rooms, its words, and who may touch other libraries' insides."""

import ast
import logging
import re
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

from tests.harness.servers import ROOT

PACKAGE = ROOT / "notifications"
SOURCE = [path for path in sorted(PACKAGE.rglob("*.py")) if "migrations" not in path.parts]
CODE = [
    *SOURCE,
    *(
        path
        for folder in ("config", "demo", "tests", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ),
]

MAX_ENTRIES = 30
MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def layers() -> list[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [contract] = [each for each in contracts["contracts"] if each["type"] == "layers"]
    return [str(layer) for layer in contract["layers"]]


def test_the_top_of_the_package_reads_like_a_table_of_contents() -> None:
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert len(entries) <= MAX_ENTRIES
    rooms = {room.strip() for layer in layers() for room in layer.split("|")}
    modules = {entry.removesuffix(".py") for entry in entries}
    assert modules == rooms | {"__init__", "py.typed", "static"}


def test_the_package_has_at_most_ten_layers() -> None:
    assert len(layers()) <= 10


def test_no_module_imports_itself_through_others() -> None:
    graph = grimp.build_graph("notifications", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_file_is_longer_than_can_be_read_at_once() -> None:
    sizes = {name_of(path): len(path.read_text().splitlines()) for path in SOURCE}
    assert {name: size for name, size in sizes.items() if size > MAX_FILE_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{name_of(path)}:{node.lineno} {node.name}"
        for path in SOURCE
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert long == []


# The log lines


LOG_METHODS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})
OTHER_LINES = {
    "notifications/streaming/templates/lookups.py": "Django's own line, in its words",
    "notifications/telemetry/logs.py": "what gives all lines their form",
}
KEYWORDS_OF_LOGGING = frozenset({"exc_info", "stack_info", "stacklevel"})
RESERVED_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "event",
    "level",
}
_EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)+")


def log_calls(path: Path) -> Iterator[ast.Call]:
    """Every call of a method that logs, whatever its object is called."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = ast.unparse(node.func.value)
            if node.func.attr in LOG_METHODS and re.search("log", name, re.IGNORECASE):
                yield node


def faults_of_log_call(call: ast.Call) -> Iterator[str]:
    assert isinstance(call.func, ast.Attribute)
    event, *values = call.args[1:] if call.func.attr == "log" else call.args
    if isinstance(event, ast.Constant):
        if not _EVENT.fullmatch(str(event.value)):
            yield f"{event.value!r} is not the name of an event, as log.away"
    elif not isinstance(event, ast.Name):
        yield "the name of the event is put together"
    if values:
        yield "a field is a keyword argument"
    for keyword in call.keywords:
        if keyword.arg == "extra" or keyword.arg in RESERVED_ATTRIBUTES - KEYWORDS_OF_LOGGING:
            yield f"records have {keyword.arg} already"
        if keyword.arg == "hint" and not isinstance(keyword.value, ast.Constant):
            yield "what varies is a field, and no part of the hint"


def test_every_log_line_is_an_event_with_fields() -> None:
    """`logger.warning("log.away", error=error)`: see docs/extend.md."""
    faults, count = [], 0
    for path in CODE:
        name = name_of(path)
        if name.startswith(("notifications/", "config/", "demo/")) and name not in OTHER_LINES:
            for call in log_calls(path):
                count += 1
                faults += [f"{name}:{call.lineno} {fault}" for fault in faults_of_log_call(call)]
    assert faults == []
    assert count > 50


@pytest.mark.parametrize(
    "call",
    [
        'logger.info("a.b c=%s", 1)',
        'logger.info("a.b", 1)',
        'logger.info(f"a.{b}")',
        'logger.info("a." + b)',
        'logger.info("In words.")',
        'logger.log(1, "a.b %s", 1)',
        'logger.info("a.b", extra={"c": 1})',
        'logger.info("a.b", name="c")',
        'logger.info("a.b", process=1)',
        'logger.info("a.b", hint=f"{c}")',
        'audit.logger.info("a.b", event="c")',
    ],
)
def test_another_form_of_a_log_line_is_found(call: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(call)
    [found] = log_calls(module)
    assert list(faults_of_log_call(found))


# The words


PRIVATE_WORDS = frozenset(
    """
    breath breathe turns wheel pulse pulses place places beginning beginnings
    lane lanes wire wires standing heed heeds heeded heeder heeders
    tell tells told say says said hear hears heard hearing
    speak speaks obey obeys obeyed tally tallies parcel parcels swift
    witness witnesses seeker messenger patience parting portion portions conversation talker
    talkers whoever seat seats giving surroundings tower
    """.split()  # noqa: SIM905 - a list of words
)
"""Words that only the authors knew, or that mean too many things. docs/extend.md has ours."""

STANDARD_NAMES = frozenset({"TimerWheel", "timer_wheel", "test_timer_wheel", "is_standing"})
"""Names of the field in which such a word is right: a hashed timing wheel is called so."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words_of(identifier: str) -> set[str]:
    """`_breathSlice` and `last_breath` both contain `breath`."""
    return {word.lower() for word in _WORD.findall(identifier)}


def identifiers(path: Path) -> Iterator[tuple[str, int]]:
    yield path.stem, 0
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.NAME:
                yield token.string, token.start[0]


@pytest.mark.parametrize("identifier", ["_breath", "BREATH", "LastBreath", "a_breath_2", "breathe"])
def test_a_private_word_is_found_inside_a_name(identifier: str) -> None:
    assert words_of(identifier) & PRIVATE_WORDS


@pytest.mark.parametrize("identifier", ["replace", "placeholder", "essays", "airplane", "wired"])
def test_other_words_that_contain_its_letters_are_left_alone(identifier: str) -> None:
    assert not words_of(identifier) & PRIVATE_WORDS


def test_no_identifier_is_a_private_word() -> None:
    found = defaultdict(list)
    for path in CODE:
        for identifier, line in identifiers(path):
            if identifier not in STANDARD_NAMES and words_of(identifier) & PRIVATE_WORDS:
                found[identifier].append(f"{name_of(path)}:{line}")
    assert dict(found) == {}
