"""Tenants of django-tenants: user 1 of one tenant is not user 1 of another.

Real servers, a real PostgreSQL, and the middleware, router and schemas of django-tenants.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import jwt
import pytest

from tests.end_to_end.test_websocket import Client, connected
from tests.harness.event_source import DEADLINE_SECONDS, Stream
from tests.harness.promises import within
from tests.harness.servers import WebServer
from tests.harness.tenants.site import ONE, TENANTS, TWO, Site, host, tenant_site
from tests.harness.tokens import AUDIENCE, ISSUER, SECRET

PROMISED_SECONDS = 1.5


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    pytest.importorskip("django_tenants")
    with tenant_site(tmp_path_factory.mktemp("tenants")) as site:
        yield site


@pytest.fixture(autouse=True)
def logged_in(site: Site) -> None:
    for tenant in TENANTS:
        site.log_in(tenant)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def opened(
    site: Site, stack: AsyncExitStack, tenant: str, query: str = "", **headers: str
) -> list[Stream]:
    """A stream of user 1 of the tenant on each of the servers."""
    headers = headers or {"Cookie": site.cookies[tenant]}
    streams = []
    for server in site.servers:
        stream = Stream(server.port, f"/events/?{query}", headers={"Host": host(tenant), **headers})
        await stack.enter_async_context(stream)
        assert stream.status == 200
        assert (await stream.next()).type == "stream.cursor"
        streams.append(stream)
    return streams


async def data_of(streams: list[Stream]) -> set[str]:
    return {(await stream.next_event()).data for stream in streams}


async def reasons(streams: list[Stream]) -> set[str]:
    found = set()
    with within(PROMISED_SECONDS):
        async with asyncio.timeout(DEADLINE_SECONDS):
            for stream in streams:
                while (event := await stream.next()).type != "stream.closing":
                    pass
                found.add(json.loads(event.data)["reason"])
    return found


async def go_on(site: Site, tenant: str, streams: list[Stream], topic: str = "user.1") -> None:
    """The next event of these streams is the one that is published to them now."""
    site.within(tenant, f"publish({topic!r}, 'still open')")
    assert await data_of(streams) == {"still open"}


# Events


async def test_user_1_of_a_tenant_gets_only_its_own_events(
    site: Site, stack: AsyncExitStack
) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    site.within(ONE, "publish(user_topic(User.objects.get(pk=1)), 'for one')")
    assert await data_of(one) == {"for one"}
    await go_on(site, TWO, two)


async def test_a_public_topic_belongs_to_its_tenant(site: Site, stack: AsyncExitStack) -> None:
    one, two = [
        await opened(site, stack, tenant, "topic=demo.news&envelope=1", Accept="*/*")
        for tenant in TENANTS
    ]
    for tenant in TENANTS:
        status, answer = await site.publish(tenant, {"topic": "demo.news", "data": tenant})
        assert status == 201
        assert answer["topics"] == ["demo.news"]
    for tenant, streams in ((ONE, one), (TWO, two)):
        for stream in streams:
            envelope = json.loads((await stream.next_event()).data)
            assert (envelope["data"], envelope["topics"]) == (tenant, ["demo.news"])


async def test_a_topic_that_all_tenants_share_reaches_all_and_no_tenant_publishes_to_it(
    site: Site, stack: AsyncExitStack
) -> None:
    issue = "result = issue(name='k', subscribe=['everywhere'], publish=['*'])"
    keys = {tenant: site.within(tenant, issue) for tenant in TENANTS}
    streams = []
    for tenant in TENANTS:
        bearer = {"Authorization": f"Bearer {keys[tenant]}"}
        streams += await opened(site, stack, tenant, "topic=everywhere", **bearer)
    status, answer = await site.publish(ONE, {"topic": "everywhere", "data": "no"}, key=keys[ONE])
    assert (status, "All tenants share 'everywhere'" in answer["detail"]) == (403, True)
    site.shell("publish('everywhere', 'to all')")
    assert await data_of(streams) == {"to all"}


async def test_the_history_of_a_topic_is_that_of_the_tenant(site: Site) -> None:
    for tenant in TENANTS:
        site.within(tenant, f"publish(['demo.history', 'demo.more'], 'of {tenant}')")
    query = "topic=demo.history&topic=demo.more&since=all"
    for tenant, other in (TENANTS, reversed(TENANTS)):
        for suffix in ("csv", "ndjson", "json"):
            status, text = await site.get(tenant, f"/events/history.{suffix}?{query}")
            assert status == 200
            assert f"of {tenant}" in text
            assert f"of {other}" not in text
            assert "\\u001f" not in text
            assert "\x1f" not in text
        _, page = await site.get(tenant, f"/events/history.json?{query}")
        assert json.loads(page)["events"][0]["topics"] == ["demo.history", "demo.more"]


async def test_what_is_denied_and_what_is_logged_names_no_schema_in_a_topic(
    site: Site, stack: AsyncExitStack
) -> None:
    for stream in await opened(site, stack, ONE, "topic=user.1&topic=user.2"):
        denied = await stream.next_event()
        assert json.loads(denied.data)["topics"] == ["user.2"]
    status, text = await site.get(ONE, "/events/?topic=user.2", Cookie=site.cookies[ONE])
    assert status == 403
    assert "'user.2'" in text
    log = site.servers[0].log.read_text()
    assert "subscribe.denied by=user:1 namespace=one" in log
    assert "\x1f" not in log
    assert "u001f" not in log


async def test_the_same_idempotency_key_is_another_in_another_tenant(site: Site) -> None:
    event = {"topic": "demo.once", "data": "x", "idempotency_key": "the-same"}
    assert [(await site.publish(tenant, event))[0] for tenant in (ONE, TWO, ONE)] == [201, 201, 200]


async def test_the_outbox_publishes_to_the_tenant_that_wrote_to_it(
    site: Site, stack: AsyncExitStack
) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    site.within(
        ONE,
        "with transaction.atomic():\n"
        "    publish_outbox('user.1', 'never')\n"
        "    transaction.set_rollback(True)\n"
        "with transaction.atomic():\n"
        "    publish_outbox('user.1', 'from the outbox')\n"
        "    User.objects.filter(pk=1).update(first_name='changed')",
    )
    assert site.within(ONE, "result = User.objects.get(pk=1).first_name") == "changed"
    assert await data_of(one) == {"from the outbox"}
    await go_on(site, TWO, two)


async def test_an_event_that_waits_for_a_commit_is_of_the_tenant_that_published_it(
    site: Site, stack: AsyncExitStack
) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    site.shell(
        "with transaction.atomic():\n"
        "    with schema_context('one'):\n"
        "        notifications.publish_on_commit('user.1', 'after the commit')\n"
        "    with schema_context('two'):\n"
        "        pass"
    )
    assert await data_of(one) == {"after the commit"}
    await go_on(site, TWO, two)


async def test_progress_is_of_the_tenant_whose_work_it_is(
    site: Site, stack: AsyncExitStack
) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    site.within(ONE, "with progress('user.1', total=1) as p:\n    p.advance()")
    for stream in one:
        assert (await stream.next_event()).type == "progress"
    await go_on(site, TWO, two)


async def test_code_in_an_event_loop_is_in_the_tenant_of_its_thread(
    site: Site, stack: AsyncExitStack
) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    site.within(ONE, "async_to_sync(notifications.apublish)('user.1', 'from a loop')")
    assert await data_of(one) == {"from a loop"}
    await go_on(site, TWO, two)


def test_code_that_cannot_know_its_tenant_is_refused_but_may_log_out(site: Site) -> None:
    error = site.within(
        ONE,
        "import asyncio\n"
        "async def code():\n"
        "    control.end_streams('session:none', reason='signed_out')\n"
        "    try:\n"
        "        publish('user.1', 'to whom?')\n"
        "    except RuntimeError as error:\n"
        "        return str(error)\n"
        "result = asyncio.run(code())",
    )
    assert "event loop is in no schema" in error


# Credentials


async def test_a_key_is_valid_in_its_own_tenant_only(site: Site, stack: AsyncExitStack) -> None:
    key = site.within(ONE, "result = issue(name='k', subscribe=['orders'], publish=['orders'])")
    bearer = {"Authorization": f"Bearer {key}"}
    one = await opened(site, stack, ONE, "topic=orders", **bearer)
    event = {"topic": "orders", "data": "paid"}
    for _ in range(2):  # the second time, the key is cached
        assert (await site.get(TWO, "/events/?topic=orders", **bearer))[0] == 401
        assert (await site.publish(TWO, event, key=key))[0] == 401
    assert (await site.publish(ONE, event, key=key))[0] == 201
    assert await data_of(one) == {"paid"}


async def test_revoking_a_key_ends_only_its_own_streams(site: Site, stack: AsyncExitStack) -> None:
    streams = {}
    for tenant in TENANTS:
        site.within(tenant, "ApiKey.objects.all().delete()")
        key = site.within(
            tenant,
            "key = ApiKey(pk=900, name='k', subscribe=['orders'], publish=[])\n"
            "result = api_keys.issue(key)\n"
            "key.save(force_insert=True)",
        )
        bearer = {"Authorization": f"Bearer {key}"}
        streams[tenant] = await opened(site, stack, tenant, "topic=orders", **bearer)
    site.within(ONE, "ApiKey.objects.get(pk=900).revoke()")
    assert await reasons(streams[ONE]) == {"permission_ended"}
    await go_on(site, TWO, streams[TWO], "orders")


@pytest.mark.parametrize("user", ["None", "User.objects.get(pk=1)"])
async def test_a_link_is_valid_in_its_own_tenant_only(
    site: Site, stack: AsyncExitStack, user: str
) -> None:
    url = site.within(ONE, f"result = events_url('orders.1', user={user})")
    one = await opened(site, stack, ONE, url.partition("?")[2], Accept="*/*")
    status, text = await site.get(TWO, url)
    assert (status, "was not made here" in text) == (401, True)
    await go_on(site, ONE, one, "orders.1")


async def test_a_token_is_valid_in_the_tenant_that_it_names(
    site: Site, stack: AsyncExitStack
) -> None:
    claims = {"aud": AUDIENCE, "iss": ISSUER, "exp": int(time.time()) + 600, "sub": "ada"}

    def bearer(**scope: Any) -> dict[str, str]:
        text = jwt.encode({**claims, "carillon": {"subscribe": ["orders"], **scope}}, SECRET)
        return {"Authorization": f"Bearer {text}"}

    one = await opened(site, stack, ONE, "topic=orders", **bearer(namespace="one"))
    for headers in (bearer(namespace="one"), bearer()):
        assert (await site.get(TWO, "/events/?topic=orders", **headers))[0] == 401
    await go_on(site, ONE, one, "orders")


async def test_a_session_of_one_tenant_opens_nothing_in_another(site: Site) -> None:
    for path in ("/events/?topic=user.1", "/events/history.json?topic=user.1"):
        assert (await site.get(TWO, path, Cookie=site.cookies[ONE]))[0] == 403


# Permissions that end


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("notifications.kick(user=User.objects.get(pk=1))", "kicked"),
        ("notifications.kick(user=1)", "kicked"),
        ("notifications.kick(topic='user.1')", "kicked"),
        ("u = User.objects.get(pk=1); u.is_active = False; u.save()", "permission_ended"),
        ("User.objects.filter(pk=1).update(is_active=False); recheck()", "permission_ended"),
        ("User.objects.filter(pk=1).update(is_active=False); recheck(user=1)", "permission_ended"),
    ],
)
async def test_what_ends_the_streams_of_user_1_leaves_those_of_other_tenants(
    site: Site, stack: AsyncExitStack, change: str, reason: str
) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    site.within(ONE, change)
    assert await reasons(one) == {reason}
    await go_on(site, TWO, two)


async def test_a_log_out_ends_the_streams_of_its_session_alone(
    site: Site, stack: AsyncExitStack
) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    site.within(ONE, f"log_out({site.cookies[ONE].removeprefix('sessionid=')!r})")
    assert await reasons(one) == {"signed_out"}
    await go_on(site, TWO, two)


@pytest.mark.parametrize(
    "change",
    [
        "recheck()",
        "recheck(user=1)",
        "user = User.objects.get(pk=1); user.is_staff = not user.is_staff; user.save()",
    ],
)
async def test_a_recheck_asks_in_the_schema_of_the_stream(
    site: Site, stack: AsyncExitStack, change: str
) -> None:
    """Outside of a request, a thread is in the public schema, or wherever it was last."""
    site.within(
        ONE,
        "group, _ = Group.objects.get_or_create(name='editors')\n"
        "User.objects.get(pk=1).groups.add(group)",
    )
    link = site.within(ONE, "result = events_url('user.1', user=User.objects.get(pk=1))")
    streams = await opened(site, stack, ONE)
    streams += await opened(site, stack, ONE, link.partition("?")[2], Accept="*/*")
    editors = await opened(site, stack, ONE, "topic=editors")
    # The streams are rechecked in their order, so that of the lost group shows when that is over.
    site.within(ONE, "User.groups.through.objects.all().delete()")
    site.within(ONE, change)
    assert await reasons(editors) == {"permission_ended"}
    await go_on(site, ONE, streams)


async def test_everyone_of_a_tenant_is_not_everyone(site: Site, stack: AsyncExitStack) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    for tenant in TENANTS:
        site.within(tenant, "User.objects.filter(pk=1).update(is_active=False)")
    site.within(ONE, "recheck()")
    assert await reasons(one) == {"permission_ended"}
    await go_on(site, TWO, two)
    site.shell("recheck()")
    assert await reasons(two) == {"permission_ended"}


# WebSockets


async def websocket(site: Site, stack: AsyncExitStack, tenant: str, server: WebServer) -> Client:
    opening = connected(
        server,
        host=host(tenant),
        subprotocols=None,
        additional_headers={"Cookie": site.cookies[tenant]},
    )
    return await stack.enter_async_context(opening)


async def test_a_websocket_is_in_the_tenant_of_its_host(site: Site, stack: AsyncExitStack) -> None:
    for server in site.servers:
        clients = {each: await websocket(site, stack, each, server) for each in TENANTS}
        for client in clients.values():
            subscribed = await client.subscribe("mine", "user.1", "demo.ws")
            assert subscribed["topics"] == ["user.1", "demo.ws"]
        for tenant in TENANTS:
            site.within(tenant, f"publish(['user.1', 'demo.ws'], {tenant!r})")
        for tenant, client in clients.items():
            event = (await client.about("mine", "event"))["event"]
            assert (event["data"], event["topics"]) == (tenant, ["user.1", "demo.ws"])
        site.within(ONE, "notifications.kick(user=1)")
        assert (await clients[ONE].about("mine", "closing"))["reason"] == "kicked"
        site.within(TWO, "publish('user.1', 'still open')")
        assert await clients[TWO].data("mine") == "still open"
        # A further command reads the session and the user again, in the same tenant.
        assert (await clients[ONE].subscribe("again", "user.1"))["topics"] == ["user.1"]


async def test_a_websocket_of_no_tenant_subscribes_to_nothing(
    site: Site, stack: AsyncExitStack
) -> None:
    client = await websocket(site, stack, ONE, site.servers[0])
    assert (await client.subscribe("a", "user.1"))["topics"] == ["user.1"]
    site.cookies["three"] = site.cookies[ONE]
    nowhere = await websocket(site, stack, "three", site.servers[0])
    assert (await nowhere.subscribe("a", "user.1"))["code"] == "not-found"


# The command


async def test_the_command_acts_for_a_tenant(site: Site, stack: AsyncExitStack) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    for command in (
        ("carillon", "--namespace", ONE, "publish", "user.1", "from a shell"),
        ("tenant_command", "carillon", "publish", "user.1", "from a shell", f"--schema={ONE}"),
    ):
        done = await asyncio.to_thread(site.manage, *command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert await data_of(one) == {"from a shell"}
    await go_on(site, TWO, two)
    done = await asyncio.to_thread(site.manage, "carillon", "--namespace", ONE, "kick", "ada")
    assert done.returncode == 0, done.stdout + done.stderr
    assert await reasons(one) == {"kicked"}
    await go_on(site, TWO, two)
    done = await asyncio.to_thread(
        site.manage, "carillon", "--namespace", "three", "publish", "user.1", "x"
    )
    assert "There is no tenant 'three'" in done.stderr
