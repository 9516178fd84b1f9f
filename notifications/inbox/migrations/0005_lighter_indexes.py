import django.db.models.deletion
from django.db import migrations, models

from notifications.inbox.indexes import IndexWithoutNulls


class Migration(migrations.Migration):
    dependencies = [("carillon_inbox", "0004_push")]

    # The new ones first: on InnoDB a foreign key always needs an index.
    operations = [
        migrations.AddIndex(
            model_name="notification",
            index=IndexWithoutNulls(fields=["actor_type", "actor_id"], name="carillon_actors"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=IndexWithoutNulls(fields=["target_type", "target_id"], name="carillon_targets"),
        ),
        migrations.AddIndex(
            model_name="notification",
            index=IndexWithoutNulls(fields=["expires_at"], name="carillon_expiry"),
        ),
        migrations.AlterField(
            model_name="notification",
            name="actor_type",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="+",
                to="contenttypes.contenttype",
            ),
        ),
        migrations.RemoveIndex(model_name="notification", name="carillon_target"),
        migrations.RemoveIndex(model_name="notification", name="carillon_expires"),
    ]
