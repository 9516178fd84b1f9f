"""Namespaces, by a tenancy that keeps the tenant in a context variable.

What needs threads, schemas and servers is in `tests/end_to_end/test_tenants.py`.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import AsyncClient
from pytest_django import Settings as DjangoSettings

from notifications import EventStreamResponse, Invalid, apublish, progress, publish
from notifications.access.authorization import _GrantRenewal
from notifications.access.identities.session import ANONYMOUS
from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.hub.subscribers import Start
from notifications.log.entries import EVERYONE, ControlAction, ControlEntry
from notifications.log.factory import memory_store
from notifications.publishing.control import kick, recheck_streams
from notifications.publishing.token_stream import stop_topic, token_stream
from notifications.testing import assert_published, outbox, read_events
from notifications.topics import NAMESPACE_END, parse_topic

pytestmark = pytest.mark.usefixtures("own_log", "tenants")

FIRST = Start(since_ms=0)
TENANCY = "tests.harness.tenancy.ContextTenancy"


@pytest.fixture
def tenants(own_log: None, settings: DjangoSettings) -> Iterator[None]:
    settings.CARILLON = {
        **settings.CARILLON,
        "NAMESPACE": TENANCY,
        "SHARED_TOPICS": ["everywhere"],
    }
    yield
    assert namespaces.current() == ""


def topics_in_log() -> list[tuple[str, ...]]:
    return [topics for _, topics, _ in memory_store(get_settings(), quiet=True).records]


def controls_in_log() -> list[ControlEntry]:
    return memory_store(get_settings(), quiet=True).controls


def test_no_topic_has_the_character_that_ends_a_namespace() -> None:
    with pytest.raises(Invalid):
        parse_topic(f"one{NAMESPACE_END}news")


def test_only_the_log_has_the_namespace() -> None:
    with namespaces.enter("one"):
        event = publish(["news", "everywhere"], 1)
    assert topics_in_log() == [(f"one{NAMESPACE_END}news", "everywhere")]
    assert event.topics == ("news", "everywhere")
    assert [published.topics for published in outbox] == [("news", "everywhere")]
    assert_published("news", 1)


def test_without_the_setting_the_log_has_topics_as_they_are(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "NAMESPACE": None}
    publish("news", 1)
    recheck_streams("user:5")
    assert topics_in_log() == [("news",)]
    assert controls_in_log()[0].namespace == ""
    assert not namespaces.is_used()


def test_a_namespace_can_be_named_and_what_all_share_too() -> None:
    with namespaces.enter("one"):
        publish("news", 1, namespace="two")
        publish("news", 1, namespace="")
    assert topics_in_log() == [(f"two{NAMESPACE_END}news",), ("news",)]


def test_a_control_entry_has_the_namespace_of_the_code_that_orders_it() -> None:
    with namespaces.enter("one"):
        recheck_streams(EVERYONE)
    [control] = controls_in_log()
    assert (control.action, control.subjects) == (ControlAction.RECHECK, (EVERYONE,))
    assert control.namespace == "one"


def test_users_that_all_tenants_share_have_no_namespace(settings: DjangoSettings) -> None:
    assert namespaces.log_subject("one", "user:5") == f"user:one{NAMESPACE_END}5"
    settings.CARILLON = {**settings.CARILLON, "NAMESPACE": "tests.harness.tenancy.SharedUsers"}
    for subject in ("user:5", "key:3"):
        assert namespaces.log_subject("one", subject) == subject
    assert namespaces.log_subject("one", "topic:news") == f"topic:one{NAMESPACE_END}news"
    with namespaces.enter("one"):
        recheck_streams(EVERYONE)
        kick(user=5, topic="news")
    everyone, both = controls_in_log()
    assert (everyone.namespace, both.namespace) == ("", "one")
    settings.CARILLON = {**settings.CARILLON, "NAMESPACE": TENANCY}


def test_a_session_needs_no_namespace() -> None:
    assert namespaces.log_subject("one", "session:ab") == "session:ab"
    with namespaces.enter("one"):
        recheck_streams("session:ab")
    assert controls_in_log()[0].namespace == ""


@pytest.mark.parametrize("name", ["NoTenancy", "Missing"])
def test_an_object_that_is_no_tenancy_is_refused(name: str, settings: DjangoSettings) -> None:
    path = f"tests.harness.tenancy.{name}"
    settings.CARILLON = {**settings.CARILLON, "NAMESPACE": path}
    with pytest.raises(ImproperlyConfigured, match="NAMESPACE"):
        publish("news", 1)
    settings.CARILLON = {**settings.CARILLON, "NAMESPACE": TENANCY}


def test_a_namespace_that_could_be_mistaken_is_an_error(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "NAMESPACE": "tests.harness.tenancy.WrongTenancy"}
    with pytest.raises(ValueError, match="is no namespace"):
        publish("news", 1)
    settings.CARILLON = {**settings.CARILLON, "NAMESPACE": TENANCY}


async def test_a_call_runs_in_a_namespace_in_its_threads_too() -> None:
    async def call() -> tuple[str, str, str]:
        await asyncio.sleep(0)
        in_thread = await sync_to_async(namespaces.current)()
        return namespaces.current(), in_thread, await namespaces.acurrent()

    assert await namespaces.run_in("one", call) == ("one", "one", "one")
    assert namespaces.current() == ""


async def test_calls_in_different_namespaces_do_not_meet() -> None:
    met = asyncio.Event()

    async def call() -> str:
        await met.wait()
        return await sync_to_async(namespaces.current)()

    async def meet() -> str:
        met.set()
        return await call()

    async with asyncio.timeout(20):
        first = asyncio.create_task(namespaces.run_in("one", meet))
        second = asyncio.create_task(namespaces.run_in("two", call))
        assert [await first, await second] == ["one", "two"]


async def test_the_grant_of_a_tenant_that_was_deleted_has_ended() -> None:
    identity = replace(ANONYMOUS, namespace="deleted")
    assert await _GrantRenewal(identity, ("news",))() is None


@pytest.mark.usefixtures("runtime_ends")
async def test_a_response_of_a_view_streams_the_topics_of_its_tenant() -> None:
    with namespaces.enter("one"):
        response = EventStreamResponse(["news"], start=FIRST, envelope=True)
    other = EventStreamResponse(["news"], start=FIRST, namespace="two")
    await apublish("news", "for two", namespace="two")
    await apublish("news", "for one", namespace="one")
    await apublish("news", "for nobody")
    [event] = await read_events(response, 1)
    assert json.loads(event.data)["data"] == "for one"
    assert json.loads(event.data)["topics"] == ["news"]
    [event] = await read_events(other, 1)
    assert event.data == "for two"


@pytest.mark.usefixtures("runtime_ends")
async def test_a_text_is_written_and_stopped_in_its_tenant() -> None:
    with namespaces.enter("one"):
        async with asyncio.timeout(10), token_stream("chat.1", per_second=100) as out:
            await out.send("Hello")
            await apublish(stop_topic("chat.1"), {}, type="stop", namespace="two")
            await apublish(stop_topic("chat.1"), {}, type="stop", namespace="one")
            while True:
                await out.send(" again")
                await asyncio.sleep(0)
    assert out.stopped
    writer = {topics for topics in topics_in_log() if not topics[0].endswith(".stop")}
    assert writer == {(f"one{NAMESPACE_END}chat.1",)}


def test_progress_is_published_in_the_tenant_in_which_the_work_began() -> None:
    with namespaces.enter("one"):
        bar = progress("imports.1", total=1)
    with bar:
        bar.advance()
    assert set(topics_in_log()) == {(f"one{NAMESPACE_END}imports.1",)}


def test_the_command_takes_a_namespace(settings: DjangoSettings) -> None:
    call_command("carillon", "--namespace", "one", "publish", "news", "x")
    assert topics_in_log() == [(f"one{NAMESPACE_END}news",)]
    with pytest.raises(CommandError, match="no tenant 'deleted'"):
        call_command("carillon", "--namespace", "deleted", "publish", "news", "x")
    settings.CARILLON = {**settings.CARILLON, "NAMESPACE": None}
    with pytest.raises(CommandError, match="has no tenants"):
        call_command("carillon", "--namespace", "one", "publish", "news", "x")


@pytest.mark.django_db
@pytest.mark.usefixtures("runtime_ends")
async def test_a_request_is_in_the_tenant_of_its_middleware() -> None:
    with namespaces.enter("one"):
        response = await AsyncClient().get("/events/?topic=demo.news")
        with namespaces.enter("two"):
            await apublish("demo.news", "for two")
        await apublish("demo.news", "for one")
        [event] = await read_events(response, 1)
    assert event.data == "for one"
