from django.db import migrations, models

from notifications.inbox.ids import new_id
from notifications.inbox.indexes import IndexWithoutNulls, UniqueWithoutNulls


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
        migrations.RemoveIndex(model_name="notification", name="carillon_counts"),
        migrations.AddIndex(
            model_name="notification",
            index=IndexWithoutNulls(
                fields=["recipient", "state", "category"], name="carillon_counts", present="number"
            ),
        ),
        migrations.RemoveConstraint(model_name="notification", name="carillon_one_to_replace"),
        migrations.AddConstraint(
            model_name="notification",
            constraint=UniqueWithoutNulls(
                fields=["recipient", "replaces"], name="carillon_one_to_replace"
            ),
        ),
    ]
