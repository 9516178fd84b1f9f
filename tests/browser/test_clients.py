"""The recipes of docs/clients.md, as they stand there: each event arrives once, in order."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.browser.conftest import DEADLINE_SECONDS, Inbox, Site
from tests.browser.faulty_proxy import FaultyProxy
from tests.browser.recipes import (
    IN_BROWSERS,
    RUNTIMES,
    Received,
    bundle,
    in_browser,
    in_runtime,
    recipes,
    type_errors,
    write_project,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

FIRST_EVENTS: list[Received] = [
    ("message", "two\nlines"),
    ("paid", "of a type of its own"),
    ("message", "long" * 16_384),  # with the name of its field, a line of more than 64 KiB
]
AFTER_THE_END: Received = ("message", "after the end and the 503")
AFTER_THE_SILENCE: Received = ("paid", "after the silence")
END: Received = ("message", "the end")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    write_project(folder)
    return folder


def test_the_recipes_have_the_right_types(project: Path) -> None:
    assert type_errors(project) == ""


def test_the_hook_for_react_is_short() -> None:
    assert len(recipes()["react-events.tsx"].splitlines()) <= 30


async def wait_for(inboxes: dict[str, Inbox[Received]], *expected: Received) -> None:
    """Wait until every client has received this, and nothing else."""
    for client, inbox in inboxes.items():
        try:
            await inbox.until(
                lambda items: len(items) >= len(expected), seconds=2 * DEADLINE_SECONDS
            )
        except TimeoutError:
            pytest.fail(f"{client} received only {inbox.items}")
        assert inbox.items == list(expected), client


async def test_every_client_gets_each_event_once_whatever_happens_to_its_stream(
    site: Site, browser: Browser, project: Path
) -> None:
    topic = site.new_topic()
    path = f"/events/?topic={topic}&since=all"

    async def publish(*events: Received) -> None:
        await site.publish(
            *(
                {"topic": topic, "data": data, **({} if type == "message" else {"type": type})}
                for type, data in events
            )
        )

    script = bundle(project)
    async with AsyncExitStack() as stack:
        proxies, inboxes = dict[str, FaultyProxy](), dict[str, Inbox[Received]]()
        for client in (*RUNTIMES, *IN_BROWSERS):
            proxy = await stack.enter_async_context(FaultyProxy.to(site.port))
            proxies[client] = proxy
            inboxes[client] = await stack.enter_async_context(
                in_runtime(client, project, proxy.url + path)
                if client in RUNTIMES
                else in_browser(client, browser, script, proxy.url, path)
            )
        await publish(*FIRST_EVENTS)
        await wait_for(inboxes, *FIRST_EVENTS)
        for proxy in proxies.values():
            proxy.refusals = 1
        await site.end_streams(topic)
        await publish(AFTER_THE_END)
        await wait_for(inboxes, *FIRST_EVENTS, AFTER_THE_END)
        assert {client: proxy.refusals for client, proxy in proxies.items() if proxy.refusals} == {}
        for proxy in proxies.values():
            proxy.fall_silent()
        await publish(AFTER_THE_SILENCE)
        await wait_for(inboxes, *FIRST_EVENTS, AFTER_THE_END, AFTER_THE_SILENCE)
        await publish(END)
        await wait_for(inboxes, *FIRST_EVENTS, AFTER_THE_END, AFTER_THE_SILENCE, END)
