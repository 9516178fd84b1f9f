"""A permission that ends through any class of the row, in every process, within a second."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest

from notifications.log import script
from tests.end_to_end.shell import running_shell
from tests.end_to_end.test_ending import Site, opened, reasons, refused
from tests.harness.raw_log import raw_entries
from tests.harness.servers import SERVERS, manage, redis_server, wait_until_ready

SETTINGS = "tests.harness.row_settings"
KEYS = script.Keys("carillon")

CLASSES = """
from tests.harness.row_classes.models import *
from django.contrib.contenttypes.models import ContentType
from guardian.shortcuts import assign_perm, remove_perm
from tests.harness.raw_log import raw_entries

class Defined(User):
    class Meta:
        proxy = True
        app_label = "auth"

def as_child(cls, pk, **fields):
    user = User.objects.get(pk=pk)
    child = cls(**{field.attname: getattr(user, field.attname) for field in user._meta.fields})
    for name, value in fields.items():
        setattr(child, name, value)
    child.save()
    return cls.objects.get(pk=child.pk)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("rows")
    database = folder / "site.sqlite3"
    shared = {
        "CARILLON_ACCESS": "tests.end_to_end.row_rules.RULES",
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "DATABASE_URL": f"sqlite:///{database}",
    }
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        manage("migrate", "-v0", redis_url=redis.url, folder=folder / "site", **shared)
        servers = [
            stack.enter_context(SERVERS[kind](redis.url, folder / kind, port=0, **shared))
            for kind in sorted(SERVERS)
        ]
        shell = stack.enter_context(running_shell(redis.url, folder / "shell", shared))
        shell(CLASSES)
        for server in servers:  # start them before the deadline of a test begins
            wait_until_ready(server.port)
        yield Site(redis, servers, shell)


@pytest.fixture
async def streams() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    "other",
    [
        "Staff.objects.get(pk={pk})",
        "NightStaff.objects.get(pk={pk})",
        "Defined.objects.get(pk={pk})",
        "as_child(Editor, {pk}, user_ptr_id={pk})",
        "as_child(ChiefEditor, {pk}, user_ptr_id={pk}, editor_ptr_id={pk})",
        "as_child(Reporter, {pk}, account_id={pk}, code='r-{pk}')",
    ],
)
@pytest.mark.parametrize("change", ["other.is_active = False; other.save()", "other.delete()"])
async def test_the_streams_of_a_user_changed_through_another_class_end(
    site: Site, streams: AsyncExitStack, other: str, change: str
) -> None:
    pk, cookie = site.user()
    site.shell(f"other = {other.format(pk=pk)}")
    mine = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.shell(change)
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, f"/events/?topic=user.{pk}", Cookie=cookie)


async def test_the_streams_of_a_user_changed_through_a_second_model_end(
    site: Site, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user()
    mine = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.shell(f"old = LegacyUser.objects.get(pk={pk}); old.enabled = False; old.save()")
    assert await reasons(mine) == {"permission_ended"}


@pytest.mark.parametrize("cls", ["Group", "Team", "Department"])
@pytest.mark.parametrize(
    "change", ["group.name = f'was-{group.pk}'; group.save()", "group.delete()"]
)
async def test_the_streams_of_a_group_that_is_renamed_or_deleted_end(
    site: Site, streams: AsyncExitStack, cls: str, change: str
) -> None:
    pk, cookie = site.user()
    site.shell(
        f"Group.objects.filter(name='editors').delete(); "
        f"group = {cls}.objects.get(pk={cls}.objects.create(name='editors').pk); "
        f"User.objects.get(pk={pk}).groups.add(group)"
    )
    mine = await opened(site, streams, "editors", Cookie=cookie)
    site.shell(change)
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, "/events/?topic=editors", Cookie=cookie)


@pytest.mark.parametrize("cls", ["Permission", "Right"])
@pytest.mark.parametrize(
    "change",
    [
        "permission.delete()",
        "permission.codename = 'see_group'; permission.save()",
        "permission.content_type = ContentType.objects.get_for_model(ApiKey); permission.save()",
        "ContentType.objects.get_for_model(Group).delete()",
    ],
)
async def test_the_streams_of_a_permission_that_is_moved_or_deleted_end(
    site: Site, streams: AsyncExitStack, cls: str, change: str
) -> None:
    pk, cookie = site.user()
    site.shell(
        "Permission.objects.filter(codename__in=['view_group', 'see_group']).delete();"
        "ContentType.objects.clear_cache();"
        "Permission.objects.create("
        "codename='view_group', content_type=ContentType.objects.get_for_model(Group));"
        f"permission = {cls}.objects.get(codename='view_group');"
        f"User.objects.get(pk={pk}).user_permissions.add(permission)"
    )
    mine = await opened(site, streams, "permitted", Cookie=cookie)
    site.shell(change)
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, "/events/?topic=permitted", Cookie=cookie)


@pytest.mark.parametrize("holder", ["user", "team"])
async def test_the_streams_of_an_object_permission_of_guardian_that_is_taken_away_end(
    site: Site, streams: AsyncExitStack, holder: str
) -> None:
    pk, cookie = site.user()
    number = site.shell(
        f"user = User.objects.get(pk={pk}); team = Group.objects.create(name='team-{pk}');"
        "user.groups.add(team); about = Permission.objects.get(codename='add_user');"
        f"assign_perm('auth.view_permission', {holder}, about); result = about.pk"
    )
    mine = await opened(site, streams, f"right.{number}", Cookie=cookie)
    site.shell(f"remove_perm('auth.view_permission', {holder}, about)")
    assert await reasons(mine) == {"permission_ended"}


async def test_the_streams_of_a_key_revoked_through_another_class_end(
    site: Site, streams: AsyncExitStack
) -> None:
    key = site.shell("result = issue(name='k', subscribe=['orders.*'], publish=[])")
    bearer = {"Authorization": f"Bearer {key}"}
    mine = await opened(site, streams, "orders.1", **bearer)
    site.shell("PartnerKey.objects.get(name='k').revoke()")
    assert await reasons(mine) == {"permission_ended"}
    assert await refused(site, "/events/?topic=orders.1", **bearer)


async def test_a_user_who_is_saved_at_each_request_costs_no_control_entry(
    site: Site, streams: AsyncExitStack
) -> None:
    pk, cookie = site.user()
    before = _controls(site)
    mine = await opened(site, streams, f"user.{pk}", Cookie=cookie)
    for _ in range(20):
        await opened(site, streams, f"user.{pk}", Cookie=cookie)
    site.shell(
        "for number in range(100):\n"
        f"    user = User.objects.get(pk={pk}); user.last_name = str(number); user.save()"
    )
    await asyncio.to_thread(site.servers[0].publish, {"topic": f"user.{pk}", "data": "still"})
    assert {(await stream.next_event()).data for stream in mine} == {"still"}
    assert _controls(site) == before
    site.shell(f"user = Staff.objects.get(pk={pk}); user.is_active = False; user.save()")
    assert await reasons(mine) == {"permission_ended"}


def _controls(site: Site) -> int:
    with site.redis.client() as client:
        return sum(entry.kind == b"control" for entry in raw_entries(client, KEYS.stream))
