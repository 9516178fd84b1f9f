"""The objects that notifications are about, loaded for many at once."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Model, prefetch_related_objects

from notifications.inbox.table import AWAY_ERRORS
from notifications.telemetry.logs import logger

OBJECTS = ("actor", "target")


def load_objects(rows: Sequence[Model], names: Sequence[str] = OBJECTS) -> None:
    """Load the actors and targets, by a query for each model. What cannot be found is None.

    A content type may be of a model that the site no longer has, and a key of another type than
    its model has today. Such a row must not make others unreadable. Raises if the database is away.
    """
    try:
        prefetch_related_objects(rows, *names)
    except AWAY_ERRORS:
        raise
    except Exception:  # noqa: BLE001 - whatever the conversion of such a key raises
        for row in rows:
            for name in names:
                _load_object(row, name)


def _load_object(row: Model, name: str) -> None:
    try:
        getattr(row, name)
    except AWAY_ERRORS:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        field: Any = row._meta.get_field(name)  # noqa: SLF001 - documented
        field.set_cached_value(row, None)
        logger.warning("inbox.object_unknown", row=str(row.pk), object=name, error=repr(error))
