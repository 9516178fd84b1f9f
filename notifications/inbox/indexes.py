"""Indexes that cost nothing for the rows that have no value in them.

MariaDB has no such indexes, so there they have all rows. With a `condition` in its own attributes,
Django would warn of that at each `migrate`, although all queries are right there too.
"""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Index, Model, Q, UniqueConstraint


class IndexWithoutNulls(Index):
    """An index of the rows in which the first column is not null."""

    def create_sql(
        self,
        model: type[Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Any:
        partial = Index(fields=self.fields, name=self.name, condition=_has(self.fields[0]))
        return partial.create_sql(model, schema_editor, using=using, **kwargs)


class UniqueWithoutNulls(UniqueConstraint):
    """A unique constraint that concerns only the rows in which the last column is not null.

    In SQL that is no difference: nulls differ from each other.
    """

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._of(schema_editor).constraint_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._of(schema_editor).create_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._of(schema_editor).remove_sql(model, schema_editor)

    def _of(self, schema_editor: BaseDatabaseSchemaEditor) -> UniqueConstraint:
        condition = None
        if schema_editor.connection.features.supports_partial_indexes:
            condition = _has(self.fields[-1])
        return UniqueConstraint(fields=self.fields, name=self.name, condition=condition)


def _has(column: str) -> Q:
    return Q(**{f"{column}__isnull": False})
