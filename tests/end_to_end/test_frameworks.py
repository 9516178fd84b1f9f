"""Streams in views of Django REST framework and django-ninja, and the tokens that open them."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.shell import Shell, running_shell
from tests.end_to_end.test_ending import reasons
from tests.harness.event_source import Stream
from tests.harness.servers import (
    DATABASE,
    NO_REDIS,
    ROOT,
    WebServer,
    manage,
    redis_server,
    uvicorn,
    wait_until_ready,
)

FORMATS = ("drf/orders", "ninja/sync", "ninja/async")


@dataclass
class FrameworkSite:
    server: WebServer
    shell: Shell
    number: int = 0

    def user(self, **fields: Any) -> tuple[int, str]:
        """A new user's primary key and token."""
        self.number += 1
        fields = {"username": f"user-{self.number}", **fields}
        pk, key = self.shell(
            "from rest_framework.authtoken.models import Token; "
            f"user = User.objects.create_user(**{fields!r}); "
            "result = [user.pk, Token.objects.create(user=user).key]"
        )
        return pk, key

    def cookie(self, pk: int) -> dict[str, str]:
        return {"Cookie": f"sessionid={self.shell(f'result = log_in(User.objects.get(pk={pk}))')}"}

    def stream(self, path: str, **headers: str) -> Stream:
        return Stream(self.server.port, f"/{path}", headers=headers)

    def get(self, path: str, **headers: str) -> tuple[int, Any]:
        return self.server.get(f"/{path}", Accept="text/event-stream", **headers)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrameworkSite]:
    folder: Path = tmp_path_factory.mktemp("frameworks")
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.harness.framework_site.settings",
        "DATABASE_URL": f"sqlite:///{folder / DATABASE}",
    }
    manage("migrate", "-v0", "--run-syncdb", redis_url=NO_REDIS, folder=folder, **settings)
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        server = stack.enter_context(uvicorn(redis.url, folder / "web", port=0, **settings))
        shell = stack.enter_context(running_shell(redis.url, folder, settings))
        wait_until_ready(server.port)
        yield FrameworkSite(server, shell)


def header(path: str, key: str) -> dict[str, str]:
    return {"Authorization": f"{'Token' if path.startswith('drf') else 'Bearer'} {key}"}


async def opened(stack: AsyncExitStack, stream: Stream) -> Stream:
    await stack.enter_async_context(stream)
    assert stream.status == 200, await stream.read()
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert (await stream.next()).type == "stream.cursor"
    return stream


def orders(path: str, pk: int) -> str:
    return f"{path}/{pk}/" if path.startswith("drf") else f"{path}/{pk}"


@pytest.mark.parametrize("path", FORMATS)
async def test_a_token_opens_a_stream_which_ends_when_the_token_is_deleted(
    site: FrameworkSite, path: str
) -> None:
    pk, key = site.user()
    _, other = site.user()
    async with AsyncExitStack() as stack:
        mine = await opened(stack, site.stream(orders(path, pk), **header(path, key)))
        theirs = await opened(stack, site.stream(orders(path, pk), **header(path, other)))
        event = {"topic": f"orders.{pk}", "data": "paid"}
        assert (await asyncio.to_thread(site.server.publish, event))[0] == 201
        assert (await mine.next_event()).data == "paid"
        assert (await theirs.next_event()).data == "paid"
        # Another password ends no token.
        site.shell(f"u = User.objects.get(pk={pk}); u.set_password('another'); u.save()")
        await asyncio.to_thread(site.server.publish, event | {"data": "packed"})
        assert (await mine.next_event()).data == "packed"
        assert (await theirs.next_event()).data == "packed"
        site.shell(
            f"Token.objects.filter(user_id={pk}).delete(); Token.objects.create(user_id={pk})"
        )
        assert await reasons([mine]) == {"permission_ended"}
        await asyncio.to_thread(site.server.publish, event | {"data": "sent"})
        assert (await theirs.next_event()).data == "sent"
        site.shell(f"User.objects.filter(auth_token__key='{other}').get().delete()")
        assert await reasons([theirs]) == {"permission_ended"}


@pytest.mark.parametrize("path", FORMATS)
async def test_the_stream_of_a_user_who_is_deactivated_ends(site: FrameworkSite, path: str) -> None:
    pk, key = site.user()
    async with AsyncExitStack() as stack:
        stream = await opened(stack, site.stream(orders(path, pk), **header(path, key)))
        site.shell(f"u = User.objects.get(pk={pk}); u.is_active = False; u.save()")
        assert await reasons([stream]) == {"permission_ended"}


async def test_permissions_of_the_view_are_asked_again(site: FrameworkSite) -> None:
    pk, key = site.user(is_staff=True)
    async with AsyncExitStack() as stack:
        streams = [
            await opened(stack, site.stream(path, **header("drf", key)))
            for path in ("drf/staff/1/", "drf/as-view/1/", "drf/rooms/1/events/", "drf/orders/1/")
        ]
        by_session = await opened(stack, site.stream("drf/staff/1/", **site.cookie(pk)))
        site.shell(f"u = User.objects.get(pk={pk}); u.is_staff = False; u.save()")
        assert await reasons([*streams[:3], by_session]) == {"permission_ended"}
        await asyncio.to_thread(site.server.publish, {"topic": "orders.1", "data": "x"})
        assert (await streams[3].next_event()).data == "x"


async def test_a_session_of_the_framework_ends_with_its_logout(site: FrameworkSite) -> None:
    pk, _ = site.user()
    cookie = site.cookie(pk)
    key = cookie["Cookie"].partition("=")[2]
    async with AsyncExitStack() as stack:
        stream = await opened(stack, site.stream("drf/orders/1/", **cookie))
        anonymous = await opened(stack, site.stream("drf/open/1/"))
        site.shell(f"SessionStore('{key}').flush()")
        assert await reasons([stream]) == {"signed_out"}
        await asyncio.to_thread(site.server.publish, {"topic": "orders.1", "data": "x"})
        assert (await anonymous.next_event()).data == "x"


async def test_a_view_can_ask_a_question_of_its_own(site: FrameworkSite) -> None:
    pk, key = site.user()
    async with AsyncExitStack() as stack:
        stream = await opened(stack, site.stream("drf/members/1/", **header("drf", key)))
        site.shell(
            f"User.objects.filter(pk={pk}).update(last_name='left'); "
            f"from notifications import recheck; recheck(user={pk})"
        )
        assert await reasons([stream]) == {"permission_ended"}


async def test_a_function_view_has_the_renderer_alone(site: FrameworkSite) -> None:
    pk, key = site.user()
    async with AsyncExitStack() as stack:
        stream = await opened(stack, site.stream("drf/function/", **header("drf", key)))
        site.shell(f"Token.objects.filter(user_id={pk}).delete()")
        assert await reasons([stream]) == {"permission_ended"}
    async with site.stream("drf/function/") as refused:
        assert refused.status == 401
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["www-authenticate"] == "Token"
        assert json.loads(await refused.read())["type"] == "urn:carillon:problem:unauthenticated"


async def test_a_stream_ends_at_its_time(site: FrameworkSite) -> None:
    _, key = site.user()
    async with AsyncExitStack() as stack:
        stream = await opened(stack, site.stream("drf/short/1/", **header("drf", key)))
        assert (await stream.next_event()).data == '{"reason":"expired"}'


async def test_rules_of_the_site_can_be_asked_too(site: FrameworkSite) -> None:
    pk, key = site.user()
    async with AsyncExitStack() as stack:
        await opened(stack, site.stream(f"drf/rules/{pk}/", **header("drf", key)))
    status, answer = await asyncio.to_thread(site.get, f"drf/rules/{pk + 1}/", **header("drf", key))
    assert (status, answer["type"]) == (403, "urn:carillon:problem:forbidden")


async def test_a_service_without_a_user_has_a_stream(site: FrameworkSite) -> None:
    async with AsyncExitStack() as stack:
        await opened(stack, site.stream("ninja/service/orders.1", **{"X-Service-Key": "service"}))


def test_refusals_of_both_frameworks_are_problems(site: FrameworkSite) -> None:
    _, key = site.user()
    for path in ("drf/orders/1/", "ninja/sync/1", "ninja/async/1"):
        for headers in ({}, header(path, "nonsense")):
            status, answer = site.get(path, **headers)
            assert (status, answer["type"]) == (401, "urn:carillon:problem:unauthenticated"), path
    assert site.get("drf/staff/1/", **header("drf", key))[0] == 403
    status, answer = site.get("ninja/sync/no-number", **header("ninja", key))
    assert (status, answer["type"]) == (422, "urn:carillon:problem:invalid")


async def test_a_throttle_is_a_problem_with_a_time(site: FrameworkSite) -> None:
    _, key = site.user()
    token = header("drf", key)
    for path in ("drf/throttled/1/", "ninja/throttled"):
        async with AsyncExitStack() as stack:
            await opened(stack, site.stream(path, **token))
        async with site.stream(path, **token) as refused:
            assert refused.status == 429
            assert refused.headers["content-type"] == "application/problem+json"
            assert int(refused.headers["retry-after"]) > 60
            assert json.loads(await refused.read())["retry_after"] > 60


NEW_TOKENS = """
from knox.models import AuthToken
from rest_framework_simplejwt.tokens import AccessToken, SlidingToken
user = User.objects.get(pk={pk})
lifetime = timedelta(seconds={seconds})
access = AccessToken.for_user(user)
access.set_exp(lifetime=lifetime)
knox = lambda: AuthToken.objects.create(user=user, expiry=lifetime)[1]
sliding = SlidingToken.for_user(user)
result = {{"knox": [knox(), knox()], "access": str(access), "sliding": str(sliding)}}
"""


def new_tokens(site: FrameworkSite, seconds: int = 600) -> tuple[int, dict[str, Any]]:
    """A new user's primary key, and tokens of other packages that last that long."""
    pk, _ = site.user()
    return pk, site.shell(NEW_TOKENS.format(pk=pk, seconds=seconds))


async def test_a_stream_of_knox_ends_when_its_user_logs_out(site: FrameworkSite) -> None:
    pk, tokens = new_tokens(site)
    here, there = ({"Authorization": f"Token {key}"} for key in tokens["knox"])
    async with AsyncExitStack() as stack:
        mine = await opened(stack, site.stream(f"knox/{pk}/", **here))
        theirs = await opened(stack, site.stream(f"knox/{pk}/", **there))
        answer = await asyncio.to_thread(site.server.request, "POST", "/knox/logout/", headers=here)
        assert answer[0] == 204
        assert await reasons([mine]) == {"permission_ended"}
        event = {"topic": f"orders.{pk}", "data": "paid"}
        await asyncio.to_thread(site.server.publish, event)
        assert (await theirs.next_event()).data == "paid"
        await asyncio.to_thread(site.server.request, "POST", "/knox/logout-all/", headers=there)
        assert await reasons([theirs]) == {"permission_ended"}


async def test_a_stream_ends_when_the_token_of_another_package_expires(
    site: FrameworkSite,
) -> None:
    pk, tokens = new_tokens(site, seconds=8)  # long enough to open three streams
    bearer = {"Authorization": f"Bearer {tokens['access']}"}
    async with AsyncExitStack() as stack:
        streams = [
            await opened(
                stack, site.stream(f"knox/{pk}/", Authorization=f"Token {tokens['knox'][0]}")
            ),
            await opened(stack, site.stream(f"jwt/{pk}/", **bearer)),
            await opened(stack, site.stream(f"jwt/stateless/{pk}/", **bearer)),
        ]
        for stream in streams:
            assert (await stream.next_event()).data == '{"reason":"expired"}'
    for path in ("jwt", "jwt/stateless"):
        status, answer = await asyncio.to_thread(site.get, f"{path}/{pk}/", **bearer)
        assert (status, answer["type"]) == (401, "urn:carillon:problem:unauthenticated")
        assert answer["detail"] == "Given token not valid for any token type"


async def test_a_sliding_token_of_simplejwt_ends_when_it_is_blacklisted(
    site: FrameworkSite,
) -> None:
    pk, tokens = new_tokens(site)
    sliding, access = (
        {"Authorization": f"Bearer {tokens[kind]}"} for kind in ("sliding", "access")
    )
    async with AsyncExitStack() as stack:
        stream = await opened(stack, site.stream(f"jwt/{pk}/", **sliding))
        other = await opened(stack, site.stream(f"jwt/{pk}/", **access))
        site.shell(f"SlidingToken('{tokens['sliding']}').blacklist()")
        assert await reasons([stream]) == {"permission_ended"}
        site.shell(f"u = User.objects.get(pk={pk}); u.is_active = False; u.save()")
        assert await reasons([other]) == {"permission_ended"}


@pytest.mark.parametrize("path", ["knox", "jwt", "jwt/stateless", "adrf", "adrf/set"])
async def test_a_token_that_is_nonsense_is_a_problem(site: FrameworkSite, path: str) -> None:
    for key in ("nonsense", "a.b.c"):
        scheme = "Bearer" if path.startswith("jwt") else "Token"
        async with site.stream(f"{path}/1/", Authorization=f"{scheme} {key}") as refused:
            assert refused.status == 401
            assert refused.headers["www-authenticate"].startswith(scheme)
            assert refused.headers["content-type"] == "application/problem+json"
            assert "ErrorDetail" not in (await refused.read()).decode()


async def test_async_views_of_adrf_have_streams(site: FrameworkSite) -> None:
    pk, key = site.user()
    other_pk, other = site.user()
    token = header("drf", key)
    async with AsyncExitStack() as stack:
        streams = [
            await opened(stack, site.stream(path, **token))
            for path in ("adrf/1/", "adrf/async-classes/1/", "adrf/function/", "adrf/set/1/")
        ]
        left = await opened(stack, site.stream("adrf/async-classes/1/", **header("drf", other)))
        await asyncio.to_thread(site.server.publish, {"topic": "orders.1", "data": "x"})
        for stream in (*streams, left):
            assert (await stream.next_event()).data == "x"
        site.shell(
            f"User.objects.filter(pk={other_pk}).update(last_name='left'); "
            f"from notifications import recheck; recheck(user={other_pk})"
        )
        assert await reasons([left]) == {"permission_ended"}
        site.shell(f"Token.objects.filter(user_id={pk}).delete()")
        assert await reasons(streams) == {"permission_ended"}


def test_every_stream_was_handed_off(site: FrameworkSite) -> None:
    log = site.server.log.read_text()
    assert "handoff.refused" not in log
    assert "Traceback" not in log


@pytest.mark.parametrize("title", ["Django REST framework", "django-ninja"])
def test_the_lines_of_the_documentation_work(site: FrameworkSite, title: str) -> None:
    section = (ROOT / "docs" / "use.md").read_text().partition(f"### {title}\n")[2]
    [code] = re.findall(
        r"```python\n(.*?)```", section.partition("\n## ")[0].partition("\n### ")[0], re.DOTALL
    )
    assert site.shell(
        f"{code}\nresult = sorted(name for name in globals() if 'order' in name.lower())"
    )


def test_without_the_mixin_an_event_source_is_refused(site: FrameworkSite) -> None:
    headers = {"Accept": "text/event-stream"}
    assert site.server.request("GET", "/drf/plain/", headers=headers)[0] == 406
    status, answer = site.server.get("/drf/data/", Accept="application/json")
    assert (status, answer) == (200, {"user": "AnonymousUser"})
