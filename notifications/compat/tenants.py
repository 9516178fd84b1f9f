"""django-tenants: each schema is a namespace. `CARILLON["NAMESPACE"] = "….tenants.schema"`."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings as django_settings
from django.db import connections
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import set_urlconf
from django.utils.module_loading import import_string
from django_tenants.middleware.main import TenantMainMiddleware
from django_tenants.utils import (
    app_labels,
    get_public_schema_name,
    get_tenant_database_alias,
    get_tenant_model,
    get_tenant_types,
    has_multi_type_tenants,
    schema_context,
    tenant_context,
)

from notifications.conf.namespace import UnknownNamespace
from notifications.errors import NotFound


class SchemaTenancy:
    """The namespace is the name of the schema, and the empty text for the public schema."""

    def current(self) -> str:
        """The schema of this thread's connection. Raises `RuntimeError` in an event loop.

        There the connection is nobody's: middleware and views use the threads of their requests.
        """
        if _in_event_loop():
            raise RuntimeError(
                "The thread of an event loop is in no schema. Call this by sync_to_async, or name "
                "the tenant: namespace=request.tenant.schema_name."
            )
        connection: Any = connections[get_tenant_database_alias()]
        return _namespace(connection.schema_name)

    @contextmanager
    def enter(self, namespace: str) -> Iterator[None]:
        with schema_context(get_public_schema_name()):
            if not namespace:
                yield
                return
            tenants = get_tenant_model()
            try:
                tenant = tenants.objects.get(schema_name=namespace)
            except tenants.DoesNotExist:
                raise UnknownNamespace(namespace) from None
            with tenant_context(tenant):
                yield

    def of_request(self, request: HttpRequest) -> str:
        """As the tenant middleware decided; the public schema where that found no tenant."""
        tenant = getattr(request, "tenant", None)
        return self.current() if tenant is None else _namespace(tenant.schema_name)

    def shares(self, model: type[Model]) -> bool:
        """Whether the table is in the public schema alone."""
        if has_multi_type_tenants():
            kinds = get_tenant_types().items()
            listed = [kind["APPS"] for name, kind in kinds if name != get_public_schema_name()]
        else:
            listed = [django_settings.TENANT_APPS]  # type: ignore[misc]  # django-tenants requires it
        label = model._meta.app_label  # noqa: SLF001 - documented
        return not any(label in app_labels(names) for names in listed)

    def of_handshake(self, request: HttpRequest) -> str:
        """As the site's own tenant middleware would decide. Raises `NotFound`."""
        try:
            _tenant_middleware().process_request(request)
        except Http404:
            raise NotFound("There is no tenant of this name.") from None
        finally:
            set_urlconf(None)
        return self.of_request(request)


schema = SchemaTenancy()


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _namespace(schema_name: str) -> str:
    return "" if schema_name == get_public_schema_name() else schema_name


def _tenant_middleware() -> Any:
    kinds = map(import_string, django_settings.MIDDLEWARE)
    ours = (kind for kind in kinds if isinstance(kind, type))
    kind = next((kind for kind in ours if issubclass(kind, TenantMainMiddleware)), None)
    return (kind or TenantMainMiddleware)(lambda _: HttpResponse())
