"""Indexes that cost nothing for the rows that have no value in them."""

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Index, Model, Q


class IndexWithoutNulls(Index):
    """An index of the rows whose first column is not null.

    MariaDB has no such indexes, so there it has all rows. With a `condition` in its own attributes,
    Django would warn of that at each `migrate`, although all queries are right there too.
    """

    def create_sql(
        self,
        model: type[Model],
        schema_editor: BaseDatabaseSchemaEditor,
        using: str = "",
        **kwargs: Any,
    ) -> Any:
        present = Q(**{f"{self.fields[0]}__isnull": False})
        partial = Index(fields=self.fields, name=self.name, condition=present)
        return partial.create_sql(model, schema_editor, using=using, **kwargs)
