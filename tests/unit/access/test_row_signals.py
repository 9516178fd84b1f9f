"""A change through any class of a row of a user, group, permission or key becomes a recheck."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.test.utils import isolate_apps
from pytest_django import DjangoAssertNumQueries
from pytest_django import Settings as DjangoSettings

from notifications.access.identities import api_keys
from notifications.access.rows import row_link
from notifications.log.entries import EVERYONE
from notifications.models import ApiKey
from tests.harness.row_classes.models import (
    Author,
    ChiefEditor,
    Club,
    Contractor,
    CustomerKey,
    Department,
    Editor,
    LegacyUser,
    Member,
    Membership,
    NightStaff,
    PartnerKey,
    Person,
    Reader,
    Reporter,
    Right,
    Staff,
    Team,
)
from tests.unit.access.test_signals import Control, ControlsOf, controls_of, recheck_of

__all__ = ["controls_of"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("own_log")]


def subjects_of(controls: list[Control]) -> set[str]:
    assert all(control[0] == "recheck" for control in controls)
    return {subject for _, subjects, _ in controls for subject in subjects}


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="pw")


def child_of(user: User, cls: type[Any], **fields: Any) -> Any:
    """The row of this user as an instance of a child, saved for the first time."""
    child = cls(**{field.attname: getattr(user, field.attname) for field in user._meta.fields})
    for name, value in fields.items():
        setattr(child, name, value)
    for parent, link in cls._meta.parents.items():
        if link is not None and issubclass(User, parent):
            setattr(child, link.attname, user.pk)
    child.save()
    return cls.objects.get(pk=child.pk)


@pytest.mark.parametrize(
    "as_class",
    [
        lambda user: Staff.objects.get(pk=user.pk),
        lambda user: NightStaff.objects.get(pk=user.pk),
        lambda user: child_of(user, Editor),
        lambda user: child_of(user, ChiefEditor, user_ptr_id=user.pk, editor_ptr_id=user.pk),
        lambda user: child_of(user, Reporter, code="r-1"),
    ],
    ids=["proxy", "proxy of a proxy", "child", "child of a child", "child with its own key"],
)
def test_a_user_changed_or_deleted_through_another_class_is_rechecked(
    ada: User, as_class: Callable[[User], Any], controls_of: ControlsOf
) -> None:
    mine = f"user:{ada.pk}"

    def deactivate() -> None:
        other = as_class(ada)
        other.is_active = False
        other.save()

    assert mine in subjects_of(controls_of(deactivate))
    assert not User.objects.get(pk=ada.pk).is_active
    group = Group.objects.create(name="editors")
    assert subjects_of(controls_of(lambda: as_class(ada).groups.add(group))) == {mine}
    assert subjects_of(controls_of(lambda: as_class(ada).groups.set([]))) == {mine}
    other = as_class(ada)
    other.groups.add(group)
    assert subjects_of(controls_of(other.groups.clear)) == {mine}
    assert subjects_of(controls_of(lambda: group.user_set.add(other))) == {mine}
    assert subjects_of(controls_of(lambda: group.user_set.set([]))) == {mine}
    assert mine in subjects_of(controls_of(other.delete))


def test_a_user_changed_through_a_second_model_of_the_table_is_rechecked(
    ada: User, controls_of: ControlsOf
) -> None:
    legacy = LegacyUser.objects.get(number=ada.pk)
    legacy.seen = "now"
    assert controls_of(legacy.save) == []
    legacy.enabled = False
    assert controls_of(legacy.save) == recheck_of(f"user:{ada.pk}")
    assert controls_of(legacy.delete) == recheck_of(f"user:{ada.pk}")


def test_a_class_that_is_defined_later_is_one_of_them_too(
    ada: User, controls_of: ControlsOf
) -> None:
    with isolate_apps("tests.harness.row_classes"):

        class Late(User):
            class Meta:
                proxy = True
                app_label = "row_classes"

    late = Late.objects.get(pk=ada.pk)
    late.is_active = False
    assert controls_of(late.save) == recheck_of(f"user:{ada.pk}")


def test_the_historical_model_of_a_migration_is_one_of_them_too(
    ada: User, controls_of: ControlsOf
) -> None:
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    state = executor.loader.project_state(executor.loader.graph.leaf_nodes("auth"))
    user = state.apps.get_model("auth", "User").objects.get(pk=ada.pk)
    assert type(user) is not User
    user.is_active = False
    assert controls_of(user.save) == recheck_of(f"user:{ada.pk}")


# Groups, permissions and keys


@pytest.mark.parametrize("cls", [Group, Team, Department])
def test_a_group_that_is_renamed_or_deleted_rechecks_everyone(
    cls: type[Any], controls_of: ControlsOf
) -> None:
    group = cls.objects.create(name="editors")
    group = cls.objects.get(pk=group.pk)
    assert controls_of(group.save) == []
    group.name = "writers"
    assert controls_of(group.save) == recheck_of(EVERYONE)
    assert set(controls_of(group.delete)) == set(recheck_of(EVERYONE))


@pytest.mark.parametrize("cls", [Permission, Right])
def test_a_permission_that_is_moved_or_deleted_rechecks_everyone(
    cls: type[Any], controls_of: ControlsOf
) -> None:
    permission = cls.objects.get(codename="view_group")
    permission.codename = "see_group"
    assert controls_of(permission.save) == recheck_of(EVERYONE)
    permission = cls.objects.get(codename="see_group")
    permission.content_type = ContentType.objects.get_for_model(User)
    assert controls_of(permission.save) == recheck_of(EVERYONE)
    permission = cls.objects.get(codename="see_group")
    permission.name = "another text"
    assert controls_of(permission.save) == []
    assert controls_of(permission.delete) == recheck_of(EVERYONE)


def test_a_content_type_that_is_deleted_or_moved_rechecks_everyone(
    controls_of: ControlsOf,
) -> None:
    content_type = ContentType.objects.create(app_label="shop", model="order")
    Permission.objects.create(codename="view_order", content_type=content_type)
    content_type = ContentType.objects.get(pk=content_type.pk)
    content_type.app_label = "store"
    assert controls_of(content_type.save) == recheck_of(EVERYONE)
    assert set(controls_of(content_type.delete)) == set(recheck_of(EVERYONE))
    ContentType.objects.clear_cache()


@pytest.mark.parametrize("cls", [PartnerKey, CustomerKey])
def test_a_key_changed_or_deleted_through_another_class_is_rechecked(
    cls: type[Any], controls_of: ControlsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = cls(name="k", prefix="abcdefgh", digest="0" * 64, subscribe=["news"], publish=[])
    key.save()
    forgotten: list[str] = []
    monkeypatch.setattr(api_keys, "forget", forgotten.append)
    assert set(controls_of(key.revoke)) == set(recheck_of(f"key:{key.pk}"))
    subject = f"key:{key.pk}"
    assert subject in forgotten
    assert set(controls_of(key.delete)) == set(recheck_of(subject))
    assert not ApiKey.objects.exists()


def test_permissions_of_a_group_changed_through_another_class_recheck_everyone(
    controls_of: ControlsOf,
) -> None:
    group = Department.objects.create(name="editors")
    permission = Right.objects.get(codename="view_group")
    assert controls_of(lambda: group.permissions.add(permission)) == recheck_of(EVERYONE)
    assert controls_of(lambda: permission.group_set.clear()) == recheck_of(EVERYONE)


# A user model with a concrete parent


@pytest.fixture
def member(settings: DjangoSettings) -> Member:
    settings.AUTH_USER_MODEL = "row_classes.Member"
    Person.objects.create()  # so that keys of users and of persons differ where they can
    return Member.objects.get(pk=Member.objects.create_user("ada").pk)


def test_a_parent_or_another_child_of_it_changes_the_user(
    member: Member, controls_of: ControlsOf
) -> None:
    person = Person.objects.get(pk=member.pk)
    person.phone = "1"
    assert controls_of(person.save) == []
    person.is_active = False
    assert controls_of(person.save) == recheck_of(f"user:{member.pk}")
    author = Author(person_ptr_id=member.pk, is_active=False)
    assert controls_of(author.save) == recheck_of(f"user:{member.pk}")
    author = Author.objects.get(pk=member.pk)
    author.pen_name = "x"
    assert controls_of(author.save) == []
    author.is_active = True
    assert controls_of(author.save) == recheck_of(f"user:{member.pk}")
    assert f"user:{member.pk}" in subjects_of(controls_of(person.delete))


def test_the_key_of_a_user_is_found_by_its_link_to_the_parent(
    settings: DjangoSettings,
    controls_of: ControlsOf,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    settings.AUTH_USER_MODEL = "row_classes.Contractor"
    Person.objects.create()
    contractor = Contractor.objects.create(number="c-7")
    person = Person.objects.get(pk=contractor.person_id)
    with django_assert_num_queries(1):  # and no question whether a contractor has that person
        person.save(update_fields=["phone"])
    person.is_active = False
    assert controls_of(person.save) == recheck_of("user:c-7")
    nobody = Person.objects.create()
    nobody = Person.objects.get(pk=nobody.pk)
    nobody.is_active = False
    assert controls_of(nobody.save) == []
    group = Group.objects.create(name="g")
    assert controls_of(lambda: contractor.groups.add(group)) == recheck_of("user:c-7")
    assert controls_of(lambda: group.contractors.remove(contractor)) == recheck_of("user:c-7")


def test_a_through_model_of_the_site_is_a_membership_too(
    member: Member, controls_of: ControlsOf
) -> None:
    group = Group.objects.create(name="editors")
    mine = recheck_of(f"user:{member.pk}")
    assert set(controls_of(lambda: member.groups.add(group))) == set(mine)
    membership = Membership.objects.get()
    membership.last_read = 5
    assert controls_of(membership.save) == []
    assert controls_of(lambda: membership.save(update_fields=["last_read"])) == []
    other = Member.objects.create_user("may")
    membership.member = other
    both = {f"user:{member.pk}", f"user:{other.pk}"}
    assert subjects_of(controls_of(membership.save)) == both
    assert controls_of(membership.delete) == recheck_of(f"user:{other.pk}")


def test_groups_of_a_user_model_s_own_kind_are_watched(
    settings: DjangoSettings, controls_of: ControlsOf
) -> None:
    settings.AUTH_USER_MODEL = "row_classes.Reader"
    reader, club = Reader.objects.create(name="ada"), Club.objects.create(name="chess")
    mine = recheck_of(f"user:{reader.pk}")
    assert controls_of(lambda: reader.groups.add(club)) == mine
    assert controls_of(lambda: reader.groups.remove(club)) == mine
    club = Club.objects.get()
    club.name = "go"
    assert controls_of(club.save) == recheck_of(EVERYONE)


# What it costs others


@pytest.mark.parametrize("signal", [post_save, post_delete, m2m_changed], ids=["s", "d", "m"])
def test_other_models_have_no_handler(signal: Any) -> None:
    from django.contrib.admin.models import LogEntry
    from django.contrib.sessions.models import Session

    for model in (LogEntry, *([] if signal is not m2m_changed else [Session])):
        handlers, _ = signal._live_receivers(model)
        assert not [h for h in handlers if "row_signals" in h.__module__]
    assert "from_db" not in vars(LogEntry)


def test_adding_what_is_there_sends_nothing(ada: User, controls_of: ControlsOf) -> None:
    group = Group.objects.create(name="editors")
    ada.groups.add(group)
    assert controls_of(lambda: ada.groups.add(group)) == []
    assert controls_of(lambda: ada.groups.set([group])) == []


def test_a_row_is_known_by_its_tables() -> None:
    assert row_link(Club, User) is None
    link = row_link(Reporter, User)
    assert link is not None
    assert (link.attname, link.lookup, link.is_whole, link.is_deleted) == ("id", None, False, True)
