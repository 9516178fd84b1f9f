"""The permissions to see live streams, and to end them. There is no table."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("carillon", "0005_outboxevent_per_topic"),
    ]

    operations = [
        migrations.CreateModel(
            name="LiveStream",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
            ],
            options={
                "managed": False,
                "default_permissions": ("view", "change"),
            },
        ),
    ]
