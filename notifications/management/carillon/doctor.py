"""`carillon doctor`: tests a site's streams through its proxies, and names faults and cures."""

import asyncio
import json
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from notifications.access.origins import LOOPBACK
from notifications.conf import get_settings
from notifications.management.doctor.verdicts import Verdict, faults, lines
from notifications.topics import example_topic

HELP = "Opens streams through the proxies in front of a site, and reports faults and cures."
EPILOG = """
It needs no access to the origin but its URL. It publishes to a random topic below TOPIC, which
nobody else uses; it reports what it cannot test without a key.

  ./run carillon doctor http://localhost:8000
      all tests on the ./run of this machine, with its own key

  manage.py carillon doctor https://example.com --topic news
      all tests that need no publishing, on a public topic

  manage.py carillon keys create doctor --subscribe doctor --publish doctor --expires 1h
  manage.py carillon doctor https://example.com --key - --idle 120 --origin https://app.example.com
      all tests; '-' reads the key from standard input

The exit status is 0 without a fault, and 1 with one. docs/deploy.md explains the cures.
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument(
        "url", metavar="URL", help="the site, or the URL of its streams if that is not /events/"
    )
    parser.add_argument("--topic", help="the topic below which to subscribe and publish (doctor)")
    parser.add_argument(
        "--key", help="a key that may publish there, and subscribe unless it is public"
    )
    parser.add_argument(
        "--origin", help="test whether pages of this origin may read streams (CORS)"
    )
    parser.add_argument(
        "--idle",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="keep a stream open for this long with nothing but keep-alives",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for a response or event (%(default)g)",
    )
    parser.add_argument(
        "--http1",
        action="store_true",
        help="use HTTP/1.1, as servers and older clients do (HTTP/2 where the site has it)",
    )
    parser.add_argument("--json", action="store_true", help="the verdicts as JSON")


def handle(command: BaseCommand, options: dict[str, Any]) -> None:
    if find_spec("httpx") is None or find_spec("h2") is None:
        raise CommandError("The doctor needs httpx: pip install 'django-carillon[doctor]'.")
    url = options["url"]
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"{url!r} is not a URL: a URL begins with https:// or http://.")
    verdicts = asyncio.run(_diagnose(command, options))
    if options["json"]:
        report = {"url": url, "verdicts": [verdict.as_dict() for verdict in verdicts]}
        command.stdout.write(json.dumps(report, indent=2))
    count = faults(verdicts)
    if count:
        raise CommandError(f"{count} {'fault' if count == 1 else 'faults'}.")
    if not options["json"]:
        command.stdout.write("No fault.")


async def _diagnose(command: BaseCommand, options: dict[str, Any]) -> list[Verdict]:
    from notifications.management.doctor.questions import diagnose
    from notifications.management.doctor.target import Target

    topic, key = _topic_and_key(options)
    target = Target(
        options["url"],
        topic=topic,
        key=sys.stdin.readline().strip() if key == "-" else key,
        timeout=options["timeout"],
        http2=not options["http1"],
    )
    verdicts = []
    async for verdict in diagnose(target, origin=options["origin"], idle_seconds=options["idle"]):
        verdicts.append(verdict)
        if not options["json"]:
            for line in lines(verdict):
                command.stdout.write(line)
            command.stdout.flush()
    return verdicts


def _topic_and_key(options: dict[str, Any]) -> tuple[str | None, str | None]:
    """What the options say; for a site in development on this machine, what its `./run` prints."""
    given = options["topic"], options["key"]
    if any(given) or not settings.DEBUG or urlsplit(options["url"]).hostname not in LOOPBACK:
        return given
    configured = get_settings()
    keys: tuple[str | None, ...] = (*configured.PUBLISH_KEYS, None)
    return example_topic(configured.PUBLIC_TOPICS), keys[0]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
