"""`carillon tail`: prints the events of some topics as they come, one per line."""

import asyncio
from argparse import ArgumentParser
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from pydantic_core import from_json

from notifications.asgi.start_params import parse_since
from notifications.conf import get_settings
from notifications.conf.namespace import current, log_topics
from notifications.errors import CarillonError
from notifications.hub import encoders
from notifications.hub.subscribers import Start
from notifications.log.base import Log
from notifications.log.cursors import START, Cursor, Position, make_position, position_ms
from notifications.log.entries import Gap, ResetReason
from notifications.log.factory import open_log
from notifications.log.records import Entry, decode
from notifications.management.carillon.progress_bar import ProgressBars
from notifications.management.carillon.subcommand import explain_error
from notifications.publishing.progress import PROGRESS_TYPE
from notifications.topics import bare_topic, parse_topics

HELP = "Prints the events of some topics as they come, until Ctrl-C."


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("topics", metavar="TOPIC", nargs="+")
    parser.add_argument(
        "--since",
        default="",
        help="start after a cursor, at a time (ISO 8601), 10m ago, with 'last:20' or with 'all'",
    )
    parser.add_argument(
        "--progress",
        action="store_true",
        help="progress bars for the events that notifications.progress publishes",
    )
    parser.add_argument("--json", action="store_true", help="a JSON envelope for each event")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    try:
        topics = frozenset(log_topics(current(), parse_topics(options["topics"])))
        start = parse_since(options["since"]) if options["since"] else Start()
        with suppress(KeyboardInterrupt):
            asyncio.run(_print(command, topics, start, _printer(command, options)))
    except CarillonError as error:
        raise CommandError(explain_error(error)) from None


def _printer(command: BaseCommand, options: dict[str, Any]) -> Callable[[Entry], object]:
    if not options["progress"]:
        return lambda entry: command.stdout.write(
            encoders.envelope_json(entry, entry.topics) if options["json"] else _line(entry)
        )
    bars = ProgressBars(partial(command.stdout.write, ending=""), redraws=command.stdout.isatty())

    def show(entry: Entry) -> None:
        if entry.type == PROGRESS_TYPE.encode() and isinstance(data := from_json(entry.data), dict):
            bars.show(bare_topic(entry.topics[0]), data)

    return show


async def _print(
    command: BaseCommand,
    topics: frozenset[str],
    start: Start,
    print_entry: Callable[[Entry], object],
) -> None:
    async with open_log(get_settings()) as log, aclosing(_entries(log, start, topics)) as entries:
        async for entry in entries:
            if isinstance(entry, Gap):
                command.stderr.write(f"The log has a gap here: {entry.reason}.")
            elif topics.intersection(entry.topics):
                print_entry(entry)
                command.stdout.flush()


async def _entries(log: Log, start: Start, topics: frozenset[str]) -> AsyncGenerator[Entry | Gap]:
    """The history of the topics from `start` on, and then each new entry, for ever."""
    state = await log.state()
    after = _start_position(start, state)
    if after is None:
        yield Gap(ResetReason.LOG_LOST)
    elif after < state.position:
        async with aclosing(_history(log, topics, after, state.position)) as history:
            if start.last:
                for entry in await _last(start.last, history):
                    yield entry
            else:
                async for entry in history:
                    yield entry
    while True:
        async with aclosing(log.tail(state)) as tail:
            async for tailed in tail:
                if isinstance(tailed, Gap):
                    yield tailed
                    state = await log.state()
                    break
                for entry in tailed.entries:
                    yield entry


async def _history(
    log: Log, topics: frozenset[str], after: Position, until: Position
) -> AsyncGenerator[Entry]:
    async with aclosing(log.read(until=until)) as batches:
        async for batch in batches:
            for entry in decode(batch.records, topics):
                if entry.position > after:
                    yield entry


async def _last(count: int, history: AsyncGenerator[Entry]) -> Iterable[Entry]:
    newest = deque[Entry](maxlen=count)
    async for entry in history:
        newest.append(entry)
    return newest


def _start_position(start: Start, state: Cursor) -> Position | None:
    """The position to go on from; None for a cursor of another epoch.

    Such a cursor names no position of this epoch.
    """
    if start.since_ms is not None:
        return Position(make_position(start.since_ms) - 1)
    if start.last:
        return START
    if start.cursor is None:
        return state.position
    cursor = Cursor.parse(str(start.cursor))
    return cursor.position if cursor.epoch == state.epoch else None


def _line(entry: Entry) -> str:
    moment = datetime.fromtimestamp(position_ms(entry.position) / 1000, UTC).astimezone()
    topics = ",".join(map(bare_topic, entry.topics))
    kind = entry.type.decode() if entry.type else "-"
    return f"{moment:%H:%M:%S.%f}"[:-3] + f"  {topics}  {kind}  {entry.data.decode()}"
