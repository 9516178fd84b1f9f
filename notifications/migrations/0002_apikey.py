"""API keys."""

import django.utils.timezone
from django.db import migrations, models

from notifications.models import TextListField


class Migration(migrations.Migration):
    dependencies = [
        ("carillon", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="The owner of the key, or its purpose.", max_length=100
                    ),
                ),
                (
                    "prefix",
                    models.CharField(editable=False, max_length=8, unique=True, verbose_name="key"),
                ),
                ("digest", models.CharField(editable=False, max_length=64)),
                (
                    "subscribe",
                    TextListField(blank=True, default=list, verbose_name="may subscribe to"),
                ),
                (
                    "publish",
                    TextListField(blank=True, default=list, verbose_name="may publish to"),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now, editable=False, verbose_name="created"
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Leave it empty for a key that never expires.",
                        null=True,
                        verbose_name="expires",
                    ),
                ),
                (
                    "revoked_at",
                    models.DateTimeField(editable=False, null=True, verbose_name="revoked"),
                ),
            ],
            options={
                "verbose_name": "API key",
                "ordering": ["-created_at", "-pk"],
            },
        ),
    ]
