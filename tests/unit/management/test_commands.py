"""`manage.py carillon publish` and `tail`, help, and the errors of `serve`."""

import json
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings as DjangoSettings

from notifications import Event, publish, publish_many
from notifications.log.cursors import Cursor, position_ms
from notifications.management.carillon import launch
from tests.harness.promises import within
from tests.harness.servers import RedisServer, environment, free_port, manage
from tests.harness.warm import python_process

pytestmark = pytest.mark.usefixtures("own_log")

DEADLINE_SECONDS = 60.0


class Terminal(StringIO):
    """A user who reads this many lines, may act after each, and then presses Ctrl-C."""

    def __init__(self, lines: int, *, act: Callable[[], object] | None = None) -> None:
        super().__init__()
        self._remaining = lines
        self._act = act

    def write(self, text: str) -> int:
        written = super().write(text)
        self._remaining -= 1
        if not self._remaining:
            raise KeyboardInterrupt
        if self._act is not None:
            self._act()
        return written

    @property
    def lines(self) -> list[str]:
        return self.getvalue().splitlines()


def carillon(*arguments: str, **options: Any) -> str:
    output = StringIO()
    call_command("carillon", *arguments, stdout=output, **options)
    return output.getvalue().strip()


def tailed(lines: int, *arguments: str) -> list[Any]:
    terminal = Terminal(lines)
    call_command("carillon", "tail", "--json", *arguments, stdout=terminal)
    return [json.loads(line) for line in terminal.lines]


# Help


@pytest.mark.parametrize("subcommand", [[], ["publish"], ["tail"], ["serve"], ["dev"]])
def test_each_subcommand_has_help(
    capsys: pytest.CaptureFixture[str], subcommand: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        call_command("carillon", *subcommand, "--help")
    assert caught.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_help_names_the_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("carillon", "--help")
    output = capsys.readouterr().out
    assert all(name in output for name in ("publish", "tail", "serve", "dev"))


@pytest.mark.parametrize("arguments", [[], ["ring"], ["publish", "demo.a"], ["tail"]])
def test_missing_and_unknown_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        call_command("carillon", *arguments)


# Serving: errors are reported before anything starts


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--server", "gunicorn"], "invalid choice: 'gunicorn'"),
        (["--workers", "0"], "'0' is not a whole number, 1 or more"),
        (["--workers", "two"], "'two' is not a whole number, 1 or more"),
        (["--port", "70000"], "'70000' is not a whole number, from 0 to 65535"),
        (["--port", "-1"], "--port"),
        (["--workers", "2"], "serve with --workers 1, or set CARILLON"),  # its log is in memory
    ],
)
def test_bad_options_of_serve_are_refused_in_one_line(arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        carillon("serve", *arguments)


@pytest.mark.parametrize(
    ("server", "installed", "cure"),
    [
        ("uvicorn", ["daphne"], r"pip install 'django-carillon\[uvicorn\]', or .*--server daphne"),
        ("daphne", ["uvicorn"], r"pip install 'django-carillon\[daphne\]', or .*--server uvicorn"),
        ("daphne", [], r"pip install 'django-carillon\[daphne\]'\.$"),
    ],
)
def test_a_server_that_is_not_installed_is_refused_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, server: str, installed: list[str], cure: str
) -> None:
    monkeypatch.setattr(launch, "find_spec", lambda name: object() if name in installed else None)
    with pytest.raises(CommandError, match=f"{server} is not installed: {cure}"):
        carillon("serve", "--server", server)


# Publishing


def test_publish_prints_the_cursor() -> None:
    cursor = carillon("publish", "demo.a", "Hello!")
    assert Cursor.parse(cursor)
    (event,) = tailed(1, "demo.a", "--since", "all")
    assert (event["data"], event["type"], event["topics"]) == ("Hello!", None, ["demo.a"])


def test_tail_begins_with_the_last_events_of_its_topics() -> None:
    for topic, data in (("demo.a", "1"), ("demo.b", "2"), ("demo.a", "3"), ("demo.b", "4")):
        carillon("publish", topic, data)
    assert [event["data"] for event in tailed(1, "demo.a", "--since", "last:1")] == ["3"]
    both = tailed(3, "demo.a", "demo.b", "--since", "last:3")
    assert [event["data"] for event in both] == ["2", "3", "4"]


def test_publish_takes_every_field_of_an_event() -> None:
    carillon("publish", "demo.a", '{"n": 1}', "--json", "--type", "note", "--id", "mine")
    (event,) = tailed(1, "demo.a", "--since", "all")
    assert (event["data"], event["type"], event["id"]) == ({"n": 1}, "note", "mine")


def test_data_is_text_even_if_it_looks_like_json() -> None:
    carillon("publish", "demo.a", "{}")
    assert tailed(1, "demo.a", "--since", "all")[0]["data"] == "{}"


def test_a_repeated_key_publishes_once() -> None:
    cursors = {carillon("publish", "demo.a", "x", "--idempotency-key", "k") for _ in range(2)}
    assert len(cursors) == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["", "x"], "topic cannot be empty"),
        (["demo.a", "x", "--type", "open"], "Browsers"),
        (["demo.a", "x", "--id", "a\nb"], "line break"),
        (["demo.a", "{", "--json"], "DATA is not JSON"),
        (["demo.a", "NaN", "--json"], "JSON"),
        (["demo.a", "\udcff"], "lone surrogate"),
        (["demo.a", "x" * 65_537], "at most 65536"),
    ],
)
def test_an_invalid_event_is_refused_in_one_line(arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        carillon("publish", *arguments)


def test_an_idempotency_key_of_another_event_is_refused() -> None:
    carillon("publish", "demo.a", "x", "--idempotency-key", "k")
    with pytest.raises(CommandError, match="different body"):
        carillon("publish", "demo.a", "y", "--idempotency-key", "k")


@pytest.mark.parametrize("arguments", [["publish", "demo.a", "x"], ["tail", "demo.a"]])
def test_without_redis_the_command_fails_soon_with_the_reason(
    settings: DjangoSettings, arguments: list[str]
) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    settings.CARILLON = {**settings.CARILLON, "LOG": "redis", "REDIS_URL": url}
    with (
        within(5),
        pytest.raises(CommandError, match=r"Redis cannot be reached.* is REDIS_URL right"),
    ):
        carillon(*arguments)


@pytest.mark.parametrize("arguments", [["publish", "demo.a", "x"], ["tail", "demo.a"]])
def test_without_the_embedded_server_the_error_names_the_cure(
    settings: DjangoSettings, tmp_path: Path, arguments: list[str]
) -> None:
    settings.CARILLON = {**settings.CARILLON, "LOG": "embedded", "DATA_DIR": tmp_path}
    with pytest.raises(CommandError, match=r"start \./run first"):
        carillon(*arguments)


# Tailing


def test_tail_prints_history_and_then_live_events() -> None:
    publish("demo.a", "history")
    publish("demo.other", "of another topic")
    terminal = Terminal(3, act=lambda: publish("demo.b", "live"))
    call_command("carillon", "tail", "demo.a", "demo.b", "--since", "all", stdout=terminal)
    assert [line.split("  ")[1:] for line in terminal.lines] == [
        ["demo.a", "-", "history"],
        ["demo.b", "-", "live"],
        ["demo.b", "-", "live"],
    ]


def test_a_line_has_the_time_the_topics_the_type_and_the_data() -> None:
    publish(["demo.a", "demo.b"], {"n": 1}, type="note")
    terminal = Terminal(1)
    call_command("carillon", "tail", "demo.a", "--since", "10m", stdout=terminal)
    moment, topics, kind, data = terminal.lines[0].split("  ")
    assert len(moment) == len("12:00:00.000")
    assert (topics, kind, data) == ("demo.a,demo.b", "note", '{"n":1}')


def test_tail_goes_on_after_a_cursor() -> None:
    events = publish_many([Event(topics="demo.a", data=str(number)) for number in range(3)])
    events_after = tailed(2, "demo.a", "--since", str(events[0].cursor))
    assert [event["data"] for event in events_after] == ["1", "2"]


def test_tail_since_a_time_starts_with_its_first_event() -> None:
    event = publish("demo.a", "x")
    ms = position_ms(Cursor.parse(str(event.cursor)).position)
    moment = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    assert tailed(1, "demo.a", "--since", moment)[0]["id"] == event.id


def test_a_cursor_of_another_log_is_reported_and_old_events_are_not_taken_for_new() -> None:
    publish("demo.a", "old")
    errors = Terminal(1)
    call_command(
        "carillon", "tail", "demo.a", "--since", "1.aaaaaaaaaaaa.1-0", stderr=errors, stdout=None
    )
    assert errors.lines == ["The log has a gap here: log_lost."]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([""], "topic cannot be empty"),
        ([*(f"t{i}" for i in range(101))], "At most 100"),
        (["demo.a", "--since", "soon"], "is not a cursor"),
    ],
)
def test_bad_arguments_of_tail_are_refused_in_one_line(arguments: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        carillon("tail", *arguments)


# As processes


def test_tail_prints_events_of_another_process_until_ctrl_c(
    redis: RedisServer, tmp_path: Path
) -> None:
    printed = manage("carillon", "publish", "demo.a", "1", redis_url=redis.url, folder=tmp_path)
    arguments = ["carillon", "tail", "demo.a", "--since", "all", "--json"]
    with python_process(
        *("manage.py", *arguments),
        env=environment(redis.url, tmp_path, {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as tail:
        try:
            assert tail.stdout is not None
            assert json.loads(tail.stdout.readline())["data"] == "1"
            manage("carillon", "publish", "demo.a", "2", redis_url=redis.url, folder=tmp_path)
            assert json.loads(tail.stdout.readline())["data"] == "2"
            tail.send_signal(signal.SIGINT)
            output, errors = tail.communicate(timeout=DEADLINE_SECONDS)
        finally:
            tail.kill()
    assert Cursor.parse(printed.strip())
    assert (tail.returncode, output, errors) == (0, "", "")
