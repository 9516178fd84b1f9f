"""A row of the outbox can have an event for each of its topics."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("carillon", "0004_outboxevent_swap"),
    ]

    operations = [
        migrations.AddField(
            model_name="outboxevent",
            name="per_topic",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Each topic has an event of its own.",
            ),
        ),
    ]
