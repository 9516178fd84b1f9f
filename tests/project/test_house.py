"""The house keeps its shape: its rooms, its words, and who may touch other libraries' insides."""

import ast
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
