"""`carillon doctor`: what a stream goes through on its way, and what to do about it."""

import asyncio
import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from importlib.util import find_spec
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from notifications.management.doctor.verdicts import Verdict, faults, lines

HELP = "Opens streams through whatever stands in front of them, and says what is wrong on the way."
USE = """
It needs no access to the origin but its URL. What it publishes goes to a topic that nobody else has
ever heard of, beneath TOPIC; what it cannot test without a key, it says.

  manage.py carillon doctor https://example.com --topic news
      what can be told without publishing, on a public topic

  manage.py carillon keys create doctor --subscribe doctor --publish doctor --expires 1h
  manage.py carillon doctor https://example.com --key - --idle 120 --origin https://app.example.com
      everything; '-' reads the key from standard input

The exit status is 0 without a fault, and 1 with one. docs/deploy.md has the cures at length.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = USE
    parser.add_argument(
        "url", metavar="URL", help="the site, or the URL of its streams if that is not /events/"
    )
    parser.add_argument("--topic", help="beneath which to listen and publish (doctor)")
    parser.add_argument("--key", help="that may publish there, and hear it unless it is public")
    parser.add_argument("--origin", help="whether pages of this origin may read streams (CORS)")
    parser.add_argument(
        "--idle",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="keep a stream open for so long with nothing but keep-alives",
    )
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for what should come at once (%(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="the verdicts as JSON")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    if find_spec("httpx") is None or find_spec("h2") is None:
        raise CommandError("It needs httpx: pip install 'django-carillon[doctor]'.")
    url = options["url"]
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"{url!r} is no URL: it begins with https:// or http://.")
    verdicts = asyncio.run(_examined(command, options))
    if options["json"]:
        report = {"url": url, "verdicts": [verdict.as_dict() for verdict in verdicts]}
        command.stdout.write(json.dumps(report, indent=2))
    found = faults(verdicts)
    if found:
        raise CommandError(f"{found} {'fault' if found == 1 else 'faults'}.")
    if not options["json"]:
        command.stdout.write("No fault.")


async def _examined(command: BaseCommand, options: dict[str, Any]) -> list[Verdict]:
    from notifications.management.doctor.questions import examine
    from notifications.management.doctor.target import Patient

    key = options["key"]
    patient = Patient(
        options["url"],
        topic=options["topic"],
        key=sys.stdin.readline().strip() if key == "-" else key,
        patience=options["patience"],
    )
    verdicts = []
    async for verdict in examine(patient, origin=options["origin"], idle=options["idle"]):
        verdicts.append(verdict)
        if not options["json"]:
            for line in lines(verdict):
                command.stdout.write(line)
            command.stdout.flush()
    return verdicts


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
