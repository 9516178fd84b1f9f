"""Reads from the primary database, in every thread and task of a block, and nowhere else."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import router
from django.utils.functional import SimpleLazyObject
from pytest_django import Settings as DjangoSettings

from notifications.hub.grants import Grant
from notifications.hub.primary import (
    RecentSubjects,
    is_from_replica,
    reads_from_primary,
    routes_reads,
)
from notifications.hub.recheck import HeldGrant, RecheckPolicy
from notifications.log.entries import EVERYONE

WRITES = "default"


class ReplicaRouter:
    """Reads of users, alone, go to a replica; this router says nothing of any other model."""

    def db_for_read(self, model: type[Any], **_: Any) -> str | None:
        return "replica" if model is User else None

    def db_for_write(self, model: type[Any], **_: Any) -> str | None:
        return WRITES if model is User else None


class ShardRouter:
    """The database of a group follows from the hint."""

    def db_for_read(self, model: type[Any], *, instance: Any = None, **_: Any) -> str | None:
        return None if instance is None else f"shard-{instance.pk}-replica"

    def db_for_write(self, model: type[Any], *, instance: Any = None, **_: Any) -> str | None:
        return None if instance is None else f"shard-{instance.pk}"


class MigrationRouter:
    """As that of django-tenants: it decides nothing of reads."""

    def allow_migrate(self, *_: Any, **__: Any) -> bool:
        return True


@pytest.fixture
def replica(settings: DjangoSettings) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.ReplicaRouter", f"{__name__}.ShardRouter"]


@pytest.mark.usefixtures("replica")
def test_reads_go_where_writes_go_within_the_block_alone() -> None:
    assert router.db_for_read(User) == "replica"
    with reads_from_primary():
        assert router.db_for_read(User) == WRITES
        with reads_from_primary():
            assert router.db_for_read(User) == WRITES
        assert router.db_for_read(User) == WRITES
    assert router.db_for_read(User) == "replica"
    with pytest.raises(KeyError), reads_from_primary():
        raise KeyError
    assert router.db_for_read(User) == "replica"


@pytest.mark.usefixtures("replica")
def test_each_router_of_the_site_is_asked_with_its_hints() -> None:
    group = Group(pk=3)
    assert router.db_for_read(Group, instance=group) == "shard-3-replica"
    with reads_from_primary():
        assert router.db_for_read(Group, instance=group) == "shard-3"
        assert router.db_for_read(Group) == "default"


@pytest.mark.usefixtures("replica")
async def test_threads_and_tasks_of_the_block_read_there_and_others_do_not() -> None:
    inside, done = asyncio.Event(), asyncio.Event()

    async def elsewhere() -> str:
        await inside.wait()
        found = await sync_to_async(router.db_for_read)(User)
        done.set()
        return found

    other = asyncio.create_task(elsewhere())
    async with asyncio.timeout(30):
        with reads_from_primary():
            inside.set()
            await done.wait()
            assert await sync_to_async(router.db_for_read)(User) == WRITES
            assert await asyncio.to_thread(router.db_for_read, User) == WRITES
            assert await asyncio.create_task(_read()) == WRITES
            assert await sync_to_async(async_to_sync(_read))() == WRITES
        assert await other == "replica"
        assert await sync_to_async(router.db_for_read)(User) == "replica"


async def _read() -> str:
    return router.db_for_read(User)


@pytest.mark.usefixtures("replica")
async def test_a_recheck_reads_there_also_for_a_grant_of_an_application() -> None:
    found = []

    async def renew() -> Grant | None:
        found.append(await sync_to_async(router.db_for_read)(User))
        return None

    policy = RecheckPolicy(max_age=600, clock=lambda: 0.0)
    await policy.recheck(HeldGrant(Grant(topics=("t",), renew=renew), confirmed=0.0))
    assert found == [WRITES]


@pytest.mark.parametrize("routers", [[], [f"{__name__}.MigrationRouter"]])
def test_a_site_that_routes_no_reads_pays_nothing(
    settings: DjangoSettings, routers: list[str]
) -> None:
    settings.DATABASE_ROUTERS = routers
    before = list(router.routers)
    with reads_from_primary():
        assert router.routers == before
    assert not routes_reads()


@pytest.mark.usefixtures("replica")
def test_an_instance_shows_where_it_was_read() -> None:
    assert routes_reads()
    user = User()
    assert not is_from_replica(user)
    assert not is_from_replica(AnonymousUser())
    user._state.db = WRITES
    assert not is_from_replica(user)
    user._state.db = "replica"
    assert is_from_replica(user)
    assert is_from_replica(SimpleLazyObject(lambda: user))


def test_subjects_are_recent_for_a_while() -> None:
    now = 0.0
    recent = RecentSubjects(seconds=10, clock=lambda: now)
    recent.add(["user:1", "user:2"])
    assert recent.has_any(["session:x", "user:1"])
    assert not recent.has_any(["user:3"])
    now = 9.0
    recent.add(["user:1"])
    now = 11.0
    assert recent.has_any(["user:1"])
    assert not recent.has_any(["user:2"])
    now = 20.0
    assert not recent.has_any(["user:1"])
    recent.add([EVERYONE])
    assert recent.has_any(["user:1"])
    assert recent.has_any([])
