from typing import Any

from django.db import migrations, models

from notifications.inbox.ids import new_id
from notifications.inbox.indexes import UniqueWithoutNulls


class WherePartial:
    """An operation that does nothing on MariaDB, where the constraint has all rows anyway.

    Between its end and its new beginning, a row that is written twice would stop the migration.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.features.supports_partial_indexes:
            super().database_forwards(app_label, schema_editor, *states)  # type: ignore[misc]

    def database_backwards(self, app_label: str, schema_editor: Any, *states: Any) -> None:
        if schema_editor.connection.features.supports_partial_indexes:
            super().database_backwards(app_label, schema_editor, *states)  # type: ignore[misc]


class RemoveConstraint(WherePartial, migrations.RemoveConstraint):
    pass


class AddConstraint(WherePartial, migrations.AddConstraint):
    pass


class Migration(migrations.Migration):
    dependencies = [("carillon_inbox", "0005_lighter_indexes")]

    operations = [
        migrations.AlterField(
            model_name="notification",
            name="id",
            field=models.UUIDField(
                default=new_id, editable=False, primary_key=True, serialize=False
            ),
        ),
        RemoveConstraint(model_name="notification", name="carillon_one_to_replace"),
        AddConstraint(
            model_name="notification",
            constraint=UniqueWithoutNulls(
                fields=["recipient", "replaces"], name="carillon_one_to_replace"
            ),
        ),
    ]
