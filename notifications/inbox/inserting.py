"""Inserting notifications that are alike, at a third of what `bulk_create` costs.

What is null stays out of the statement, and no model is made for a row.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections
from django.db.models.sql import InsertQuery

if TYPE_CHECKING:
    from notifications.inbox.models import Notification


def insert_alike(ids: Mapping[Any, UUID], alike: "Notification", using: str) -> None:
    """Insert a notification for each recipient, with its id, and else as this one."""
    meta = type(alike)._meta  # noqa: SLF001 - documented
    all_values = {column: getattr(alike, column.attname) for column in meta.concrete_fields}
    columns = [
        column
        for column, value in all_values.items()
        if value is not None or column.name == "recipient"
    ]
    values = {column.attname: all_values[column] for column in columns}
    new: list[Any] = [
        SimpleNamespace(**{**values, "recipient_id": recipient, "id": id})
        for recipient, id in ids.items()
    ]
    most = max(1, connections[using].ops.bulk_batch_size(columns, new))
    for first in range(0, len(new), most):
        query = InsertQuery(type(alike))
        query.insert_values(columns, new[first : first + most], raw=True)
        query.get_compiler(using=using).execute_sql()
