"""The outbox, and the lease of the process that relays it."""

import uuid

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("carillon", "0002_apikey"),
    ]

    operations = [
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.UUIDField(default=uuid.uuid4)),
                ("topics", models.TextField(help_text="One on each line.")),
                ("type", models.CharField(blank=True, max_length=255)),
                ("name", models.CharField(max_length=255)),
                ("data", models.BinaryField()),
                ("is_text", models.BooleanField()),
                ("retry", models.PositiveIntegerField(null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("refused_at", models.DateTimeField(null=True)),
                ("refusal", models.TextField(blank=True)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="OutboxLease",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("holder", models.CharField(blank=True, max_length=32)),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
    ]
