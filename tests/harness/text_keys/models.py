"""A user model and a model of objects, both with text as primary key."""

from typing import Any, ClassVar

from django.contrib.auth.models import (
    AbstractBaseUser,
    BaseUserManager,
    Group,
    Permission,
    PermissionsMixin,
)
from django.db import models


class Person(AbstractBaseUser, PermissionsMixin):
    name = models.CharField(max_length=200, primary_key=True)
    team = models.CharField(max_length=200, default="")
    is_active = models.BooleanField(default=True)
    # Under these names `auth.User` has them already.
    groups: Any = models.ManyToManyField(Group, related_name="+")
    user_permissions: Any = models.ManyToManyField(Permission, related_name="+")

    objects: ClassVar[Any] = BaseUserManager()

    USERNAME_FIELD = "name"


class Order(models.Model):
    number = models.CharField(max_length=200, primary_key=True)
    owner = models.ForeignKey(Person, models.CASCADE)

    def __str__(self) -> str:
        return self.number


class OwnersBackend:
    """A backend with object permissions: owners may view their orders."""

    def authenticate(self, *_: Any, **__: Any) -> None:
        return None

    def has_perm(self, user: Any, name: str, obj: Any = None) -> bool:
        return name == "text_keys.view_order" and obj is not None and obj.owner_id == user.pk
