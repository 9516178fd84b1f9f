"""The tables that a site uses: of API keys, sessions, users, the inbox and the outbox.

Without them every request that needs one is answered 503, and nothing else tells the operator that
the database has not been migrated.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.db import Error as DatabaseError
from django.db import connections, router
from django.db.models import Model

from notifications.asgi.threads import close_idle_connections
from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.models import ApiKey, OutboxEvent, OutboxLease

type Tables = dict[str, list[str]]
"""The names of tables, by the alias of their database."""


class TableLook:
    """Looks whether the tables exist, until they do. After that it does not look again."""

    def __init__(self) -> None:
        self._exist = False

    async def missing(self, *, timeout: float) -> Tables:
        """As `missing_tables`. A database that does not answer within `timeout` s is not judged."""
        if self._exist:
            return {}
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                missing = await sync_to_async(_look_once)()
                self._exist = not missing
                return missing
        return {}


def _look_once() -> Tables:
    try:
        return missing_tables()
    finally:
        close_idle_connections()  # a probe is no request, at whose end Django does so


def missing_tables() -> Tables:
    """The tables that the settings use, and that do not exist.

    A database that cannot be reached is not judged: its outage may pass, and streams of public
    topics do without it. A site without a database, or with routers that do not allow our tables,
    lacks none.
    """
    missing: Tables = {}
    with namespaces.enter(""):
        for using, model in _used():
            if _has_database(using) and router.allow_migrate_model(using, model):
                table = model._meta.db_table  # noqa: SLF001 - documented
                if _lacks(using, model, table):
                    missing.setdefault(using, []).append(table)
    return missing


def explain_missing(missing: Tables) -> str:
    """One sentence for each database, with the command that creates its tables."""
    sentences = []
    for using, names in missing.items():
        option = "" if using == "default" else f" --database {using}"
        sentences.append(
            f"The database {using!r} has no table {', '.join(names)}: run `python manage.py "
            f"migrate{option}` first (`./run migrate{option}` in a checkout of Carillon)."
        )
    return " ".join(sentences)


def _used() -> Iterator[tuple[str, type[Model]]]:
    settings = get_settings()
    yield router.db_for_read(ApiKey), ApiKey
    if apps.is_installed("django.contrib.sessions"):
        store = import_module(django_settings.SESSION_ENGINE).SessionStore
        if hasattr(store, "get_model_class"):  # the engines that keep sessions in a database
            sessions = store.get_model_class()
            yield router.db_for_read(sessions), sessions
    if apps.is_installed("django.contrib.auth"):
        users = get_user_model()
        yield router.db_for_read(users), users
    has_inbox = apps.is_installed("notifications.inbox")
    if has_inbox:  # a package of this layer, which this module must not import
        for model in apps.get_app_config("carillon_inbox").get_models():
            yield router.db_for_write(model), model
    if settings.uses_outbox or has_inbox:
        for using in settings.OUTBOX_DATABASES:
            yield from ((using, OutboxEvent), (using, OutboxLease))


def _has_database(using: str) -> bool:
    return using in connections and connections[using].vendor != "unknown"  # Django's dummy


def _lacks(using: str, model: type[Model], table: str) -> bool:
    connection = connections[using]
    try:
        connection.ensure_connection()
    except DatabaseError:
        file = Path(str(connection.settings_dict["NAME"]))
        return connection.vendor == "sqlite" and not file.exists()
    with suppress(DatabaseError):
        model._base_manager.using(using).exists()  # noqa: SLF001 - documented
        return False
    with suppress(DatabaseError), connection.cursor() as cursor:  # it may be gone by now
        names = connection.introspection.table_names(cursor, include_views=True)
        return table.casefold() not in map(str.casefold, names)
    return False
