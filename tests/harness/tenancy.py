"""A tenancy whose tenant is a context variable, unlike that of django-tenants."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db.models import Model

from notifications.conf.namespace import UnknownNamespace

_tenant: ContextVar[str] = ContextVar("tenant", default="")


class ContextTenancy:
    def current(self) -> str:
        return _tenant.get()

    @contextmanager
    def enter(self, namespace: str) -> Iterator[None]:
        if namespace == "deleted":
            raise UnknownNamespace(namespace)
        token = _tenant.set(namespace)
        try:
            yield
        finally:
            _tenant.reset(token)


class SharedUsers(ContextTenancy):
    """Users and keys are the same in all tenants."""

    def shares(self, model: type[Model]) -> bool:
        return True


class NoTenancy:
    """An object without the methods."""


class WrongTenancy(ContextTenancy):
    def current(self) -> str:
        return "two\nlines"
