"""Proxies, children, parents and second models of what permissions depend on, as sites have."""

# ruff: noqa: DJ008 - nobody looks at these rows

from typing import Any, ClassVar

from django.contrib.auth.models import (
    AbstractBaseUser,
    BaseUserManager,
    Group,
    Permission,
    PermissionsMixin,
    User,
)
from django.db import models

from notifications.models import ApiKey, TextListField


class Staff(User):
    class Meta:
        proxy = True


class NightStaff(Staff):
    class Meta:
        proxy = True


class Editor(User):
    desk = models.CharField(max_length=20, blank=True)


class ChiefEditor(Editor):
    room = models.CharField(max_length=20, blank=True)


class Reporter(Staff):
    """A child of a proxy, with a primary key of its own."""

    code = models.CharField(max_length=20, primary_key=True)
    account = models.OneToOneField(User, models.CASCADE, parent_link=True, related_name="reporter")


class LegacyUser(models.Model):
    """The table of the users, as an older application of the site reads it."""

    number = models.AutoField(primary_key=True, db_column="id")
    enabled = models.BooleanField(db_column="is_active")
    seen = models.CharField(max_length=150, db_column="last_name")

    class Meta:
        managed = False
        db_table = "auth_user"


class Team(Group):
    class Meta:
        proxy = True


class Department(Group):
    floor = models.IntegerField(default=0)


class Right(Permission):
    class Meta:
        proxy = True


class PartnerKey(ApiKey):
    class Meta:
        proxy = True


class CustomerKey(ApiKey):
    customer = models.CharField(max_length=20, blank=True)


# A user model with a concrete parent


class Person(models.Model):
    is_active = models.BooleanField(default=True)
    phone = models.CharField(max_length=20, blank=True)


class Author(Person):
    """Another child of the same parent."""

    pen_name = models.CharField(max_length=20, blank=True)


class MemberManager(BaseUserManager["Member"]):
    def create_user(self, name: str, **fields: Any) -> "Member":
        return self.create(name=name, **fields)


class Member(Person, AbstractBaseUser, PermissionsMixin):
    name = models.CharField(max_length=20, unique=True)
    last_seen = models.IntegerField(default=0)
    preferences = TextListField(default=list)
    # Under these names `auth.User` has them already.
    groups: Any = models.ManyToManyField(Group, through="Membership", related_name="members")
    user_permissions: Any = models.ManyToManyField(Permission, related_name="+")

    objects: ClassVar[MemberManager] = MemberManager()
    USERNAME_FIELD = "name"


class Membership(models.Model):
    member = models.ForeignKey(Member, models.CASCADE)
    group = models.ForeignKey(Group, models.CASCADE)
    last_read = models.IntegerField(default=0)


class Contractor(Person, AbstractBaseUser, PermissionsMixin):
    """Its primary key is not that of its parent."""

    number = models.CharField(max_length=20, primary_key=True)
    person = models.OneToOneField(Person, models.CASCADE, parent_link=True)
    groups: Any = models.ManyToManyField(Group, related_name="contractors")
    user_permissions: Any = models.ManyToManyField(Permission, related_name="+")
    USERNAME_FIELD = "number"

    objects: ClassVar[Any] = BaseUserManager()


# Users without Django's permissions


class Reader(AbstractBaseUser):
    """It has permissions and groups of its own making."""

    name = models.CharField(max_length=20, unique=True)
    is_active = models.BooleanField(default=True)
    rights = models.CharField(max_length=200, blank=True)
    groups: Any = models.ManyToManyField("Club")
    USERNAME_FIELD = "name"

    objects: ClassVar[Any] = BaseUserManager()

    def has_perm(self, name: str, obj: object = None) -> bool:
        return (name if obj is None else f"{name}:{obj}") in self.rights.split()


class Club(models.Model):
    name = models.CharField(max_length=20)


class Guest(AbstractBaseUser):
    """Only the backends of the site know its permissions."""

    name = models.CharField(max_length=20, unique=True)
    USERNAME_FIELD = "name"

    objects: ClassVar[Any] = BaseUserManager()


# What notifications are about


class Order(models.Model):
    """Its table is there only in a test that makes it, so users are deleted without it."""

    owner = models.ForeignKey(User, models.DO_NOTHING, related_name="+", db_constraint=False)
    number = models.CharField(max_length=20)
    paid = models.BooleanField(default=False)

    class Meta:
        managed = False

    def __str__(self) -> str:
        return f"No. {self.number}"
