"""Tenants that share their users, which are in the public schema: user 1 is one person."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.end_to_end.test_tenants import go_on, opened, reasons
from tests.harness.tenants.site import ONE, TENANTS, TWO, Site, tenant_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    pytest.importorskip("django_tenants")
    with tenant_site(tmp_path_factory.mktemp("shared"), USERS_ARE_SHARED="1") as site:
        yield site


@pytest.fixture(autouse=True)
def logged_in(site: Site) -> None:
    for tenant in TENANTS:
        site.log_in(tenant)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


DEACTIVATE = "user = User.objects.get(pk=1); user.is_active = False; user.save()"
KICK = "notifications.kick(user=1)"


@pytest.mark.parametrize("schema", ["public", ONE])
@pytest.mark.parametrize(("change", "reason"), [(DEACTIVATE, "permission_ended"), (KICK, "kicked")])
async def test_what_ends_the_streams_of_a_person_ends_them_in_every_tenant(
    site: Site, stack: AsyncExitStack, schema: str, change: str, reason: str
) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    site.within(schema, change)
    assert await reasons([*one, *two]) == {reason}


async def test_a_group_that_is_deleted_anywhere_is_deleted_everywhere(
    site: Site, stack: AsyncExitStack
) -> None:
    site.within(ONE, "User.objects.get(pk=1).groups.add(Group.objects.create(name='editors'))")
    two = await opened(site, stack, TWO, "topic=editors")
    site.within(ONE, "Group.objects.all().delete()")
    assert await reasons(two) == {"permission_ended"}


async def test_a_topic_still_belongs_to_its_tenant(site: Site, stack: AsyncExitStack) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    await go_on(site, ONE, one)
    await go_on(site, TWO, two)


async def test_the_kick_of_a_topic_concerns_its_tenant(site: Site, stack: AsyncExitStack) -> None:
    one, two = [await opened(site, stack, tenant) for tenant in TENANTS]
    site.within(ONE, "notifications.kick(topic='user.1')")
    assert await reasons(one) == {"kicked"}
    await go_on(site, TWO, two)
