"""The outbox knows which of its events are HTML."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("carillon", "0003_outbox"),
    ]

    operations = [
        migrations.AddField(
            model_name="outboxevent",
            name="swap",
            field=models.CharField(blank=True, db_default="", default="", max_length=300),
        ),
    ]
