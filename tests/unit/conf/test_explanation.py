"""What is wrong is told in words: for every setting, every limit, and both sources."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from config.tokens import TokenVariables
from config.variables import Carillon, Project, read_project
from notifications.conf import Settings, get_settings
from notifications.conf.explanation import resolved
from tests.harness.tokens import jwt_setting

SCHEMA = Settings.model_json_schema()
VALID = {"LOG": "memory"}
VALID_VARIABLES = {"SECRET_KEY": "x" * 50, "CARILLON_LOG": "memory"}
SECRET = "5esame-5esame"

FORM = re.compile(
    r"(?P<name>CARILLON(\[[^]]+\])*|[A-Z_]+) "
    r"(must be .+; (it|its item \d+|a key of it) is .+|is not set: .+|must have .+"
    r"|is not a setting: (did you mean .+\?|docs/run\.md has all of them\.)|cannot be read: .+"
    r"|is a PEM.*|must be (a public key|an RSA|a key on|an Ed25519).+)",
    re.DOTALL,
)
WORDS_OF_PYDANTIC = re.compile(
    r"Input should|should be a|valid (string|integer|number|boolean|tuple)|pydantic|type=|"
    r"input_value|[a-z]+_(type|error|parsing)|errors\.|String |Value error|Field required|"
    r"Extra inputs|NoneType|characters should|\.\.$|Traceback",
    re.IGNORECASE,
)

WRONG_VALUES: list[Any] = [
    *(None, True, 0, -1, 5, 10**12, 0.5, -0.5, float("nan"), float("inf"), "", "text", SECRET),
    *("a b", "é", b"bytes", object(), int, [], (), {}, set(), {"a": 1}, [None], [5], ["a b", 5]),
    *([""], [[]], [SECRET + " "], ["news", None], [b"x"], "x" * 1000, 1 + 2j, print),
]
WRONG_TEXTS = [
    *("text", SECRET, "a b", "é", "-1", "1.5", "1e3", "1_000", "0x10", "٣", "nan", "inf", "None"),
    *("[]", '["news"]', "{}", ",", ",,", "x" * 1000, "10.0.0.0/99", "0", "999999999999", "True;"),
]


def refusal(carillon: object) -> list[str]:
    """The lines of a refusal; none if the settings are accepted."""
    with override_settings(CARILLON=carillon):
        try:
            get_settings()
        except ImproperlyConfigured as error:
            return str(error).split("\n")
    return []


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Any:
    def refused(variables: Mapping[str, str]) -> list[str]:
        monkeypatch.setattr(os, "environ", {**VALID_VARIABLES, **variables})
        try:
            read_project()
        except ImproperlyConfigured as error:
            return str(error).split("\n")
        return []

    return refused


def check_form(lines: list[str], name: str) -> None:
    for line in lines:
        match = FORM.fullmatch(line)
        assert match, line
        assert match["name"] == name or match["name"].startswith(f"{name}["), line
        assert not WORDS_OF_PYDANTIC.search(line), line
        assert SECRET not in line or not is_secret(name), line


def is_secret(name: str) -> bool:
    return bool(re.search('KEYS|KEY$|REDIS_URL|JWT"?]?$|SECRET|DATABASE_URL', name))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_any_wrong_value_of_the_dict_is_explained(name: str) -> None:
    count = 0
    for value in WRONG_VALUES:
        lines = refusal({**VALID, name: value})
        check_form(lines, f'CARILLON["{name}"]')
        count += bool(lines)
    assert count > len(WRONG_VALUES) / 2


ALL_VARIABLES = [*Project.variables(), *Carillon.variables(), *TokenVariables.variables()]
ANY_TEXT = {"HOST", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "DATA_DIR", "SECRET_KEY"} | {
    *("CARILLON_OUTBOX_DATABASES", "CARILLON_JWT_KEY_ID"),
    *("CARILLON_JWT_AUDIENCE", "CARILLON_JWT_ISSUER", "CARILLON_JWT_PUBLIC_KEY"),
}


@pytest.mark.parametrize("name", dict.fromkeys(ALL_VARIABLES))
def test_any_wrong_text_of_a_variable_is_explained(name: str, refused: Any) -> None:
    others = {}
    if name.startswith("CARILLON_JWT_"):
        others = {"CARILLON_JWT_AUDIENCE": "a", "CARILLON_JWT_ISSUER": "i"}
    if name.startswith("CARILLON_JWT_") and name != "CARILLON_JWT_PUBLIC_KEY":
        others["CARILLON_JWT_SECRET"] = "x" * 40
    count = 0
    for text in WRONG_TEXTS:
        lines = refused({**others, name: text})
        check_form(lines, name)
        count += bool(lines)
    assert count or name in ANY_TEXT


@pytest.mark.parametrize("name", dict.fromkeys(ALL_VARIABLES))
def test_a_file_that_cannot_be_read_is_named(name: str, refused: Any) -> None:
    if name in VALID_VARIABLES:
        return
    lines = refused({f"{name}_FILE": "/no/such/file"})
    assert f"{name}_FILE cannot be read: [Errno 2] No such file or directory: '/no/such/file'" in (
        lines
    )
    assert all(FORM.fullmatch(line) for line in lines)


def limits() -> Iterator[tuple[str, Any, bool]]:
    """Values on both sides of each limit, and whether they are right."""
    for name, field in SCHEMA["properties"].items():
        schema = resolved(field, SCHEMA)
        step = 1 if schema.get("type") == "integer" else 0.001
        if (least := schema.get("minimum")) is not None:
            yield from ((name, least, True), (name, least - step, False))
        if (above := schema.get("exclusiveMinimum")) is not None:
            yield from ((name, above + step, True), (name, above, False))
        if (most := schema.get("maximum")) is not None:
            yield from ((name, most, True), (name, most + step, False))
        for allowed in schema.get("enum", ()):
            yield from ((name, allowed, True), (name, allowed.upper(), False))
        if schema.get("minItems"):
            yield name, [], False


@pytest.mark.parametrize(("name", "value", "is_right"), list(limits()))
def test_each_limit_is_the_one_in_the_words(
    name: str, value: Any, is_right: bool, refused: Any
) -> None:
    others = {"DATA_DIR": Path("/x"), "REDIS_URL": "redis://x"}
    lines = refusal({**VALID, **others, name: value})
    assert bool(lines) is not is_right
    text = ",".join(value) if isinstance(value, list) else f"{value}"
    variable = Carillon.variable((name,))
    of_variable = refused({"REDIS_URL": "redis://x", variable: text or ","})
    assert bool(of_variable) is not is_right
    check_form(of_variable, variable)


@pytest.mark.parametrize(
    ("carillon", "line"),
    [
        (
            {"PUBLIC_TOPICS": "news"},
            'CARILLON["PUBLIC_TOPICS"] must be a list of patterns of topics, such as '
            '["news", "demo."]; it is the text \'news\'.',
        ),
        (
            {"PUBLIC_TOPICS": ["news", ""]},
            'CARILLON["PUBLIC_TOPICS"] must be a list of patterns of topics, such as '
            '["news", "demo."]; its item 2 is the text \'\': A topic cannot be empty.',
        ),
        ({"KEEPALIVE": 301}, 'CARILLON["KEEPALIVE"] must be a number above 0 and at most 300;'),
        ({"MAX_STREAMS": None}, 'CARILLON["MAX_STREAMS"] must be a whole number of 0 or more; it'),
        ({"OUTBOX_DATABASES": []}, "with at least one item, such as"),
        ({"QUERY_TOKENS": "yes"}, "must be True or False; it is the text 'yes'."),
        ({"JWT": jwt_setting(KEYS={"": {}})}, "a key of it is the text ''"),
        ({"JWT": jwt_setting(ALGORITHM=1)}, 'CARILLON["JWT"]["ALGORITHM"] is not a setting'),
        ({"public_topics": []}, 'did you mean CARILLON["PUBLIC_TOPICS"]?'),
        ({"LOGS": "memory"}, 'did you mean CARILLON["LOG"]?'),
        ({"COLOUR": 1}, 'CARILLON["COLOUR"] is not a setting: docs/run.md has all of them.'),
        ({7: 1}, "CARILLON[7] is not a setting"),
        ({None: 1}, 'CARILLON["None"] is not a setting'),
    ],
)
def test_the_words_for_the_dict(carillon: dict[Any, Any], line: str) -> None:
    lines = refusal({**VALID, **carillon})
    assert any(line in each for each in lines), lines


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (
            {"CARILLON_PUBLIC_TOPICS": "news,," + "x" * 256},
            "CARILLON_PUBLIC_TOPICS must be a list of patterns of topics, separated by commas, "
            f"such as news,demo.; its item 2 is the text '{'x' * 60}'…: ",
        ),
        ({"CARILLON_QUERY_TOKENS": "si"}, "CARILLON_QUERY_TOKENS must be 1 or 0; it is the text "),
        ({"CARILLON_MAX_STREAMS": "-1"}, "must be a whole number of 0 or more; it is -1."),
        ({"PORT": "http"}, "PORT must be a whole number from 0 to 65535; it is the text 'http'."),
        ({"CARILLON_PUBLIC_TOPIC": "x"}, "did you mean CARILLON_PUBLIC_TOPICS?"),
        ({"CARILLON_PUBLISH_KEY_FILE": "x"}, "did you mean CARILLON_PUBLISH_KEYS?"),
        ({"carillon_public_topics": "x"}, "did you mean CARILLON_PUBLIC_TOPICS?"),
        (
            {"CARILLON_REDIS_URL": "x"},
            "CARILLON_REDIS_URL is not a setting: did you mean REDIS_URL?",
        ),
        ({"CARILLON_JWT": "{}"}, "CARILLON_JWT is not a setting: did you mean CARILLON_JWT_"),
        ({"CARRILLON_KEEPALIVE": "9"}, "CARRILLON_KEEPALIVE is not a setting: did you mean CARI"),
        ({"CARILON_KEEPALIVE": "9"}, "did you mean CARILLON_KEEPALIVE?"),
        ({"CARILLON_COLOUR": "9"}, "CARILLON_COLOUR is not a setting: docs/run.md has all of them"),
    ],
)
def test_the_words_for_variables(variables: dict[str, str], line: str, refused: Any) -> None:
    lines = refused(variables)
    assert len(lines) == 1
    assert line in lines[0]


def test_all_wrong_variables_are_named_at_once(refused: Any) -> None:
    lines = refused(
        {
            "DEBUG": "perhaps",
            "PORT": "http",
            "CARILLON_KEEPALIVE": "soon",
            "CARILLON_KEEP_ALIVE": "5",
            "CARILLON_JWT_LEEWAY": "soon",
            "CARILLON_ACCESS_FILE": "/no/such/file",
            "DATABASE_URL": f"oops://ada:{SECRET}@db",
        }
    )
    assert {line.partition(" ")[0] for line in lines} == {
        *("DEBUG", "PORT", "CARILLON_KEEPALIVE", "CARILLON_KEEP_ALIVE", "CARILLON_JWT_LEEWAY"),
        *("CARILLON_ACCESS_FILE", "DATABASE_URL"),
    }
    assert SECRET not in "".join(lines)


def test_what_is_missing_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"CARILLON_KEEPALIVE": "soon", "ALLOWED_HOSTS": "*"})
    with pytest.raises(ImproperlyConfigured) as caught:
        read_project()
    names = [line.partition(" ")[0] for line in str(caught.value).split("\n")]
    assert sorted(names) == ["ALLOWED_HOSTS", "CARILLON_KEEPALIVE", "REDIS_URL", "SECRET_KEY"]


@pytest.mark.parametrize(
    "name",
    [
        "CARILLON_SERVICE_HOST",
        "CARILLON_SERVICE_PORT",
        "CARILLON_SERVICE_PORT_HTTP",
        "CARILLON_PORT",
        "CARILLON_PORT_8000_TCP",
        "CARILLON_PORT_8000_TCP_ADDR",
        "CARILLON_PORT_8000_TCP_PROTO",
        "CARILLON_REDIS_SERVICE_HOST",
        "CARILLON_REDIS_MASTER_PORT_6379_TCP",
        "CARILLONS",
        "MY_CARILLON_KEEPALIVE",
        "KEEPALIVE",
        "CAROUSEL_LOG",
    ],
)
def test_variables_of_others_are_left_alone(name: str, refused: Any) -> None:
    """Kubernetes sets the first ones in each container, for a Service named `carillon`."""
    assert refused({name: "tcp://10.0.0.1:8000"}) == []
