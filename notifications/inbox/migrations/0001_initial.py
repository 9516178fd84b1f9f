"""The notifications of people, and the last number that one was given."""

import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import notifications.inbox.models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="LastNumber",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.BigIntegerField(default=0)),
            ],
            options={
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("number", models.BigIntegerField(editable=False, null=True)),
                ("pending", models.BooleanField(default=True, editable=False)),
                ("version", models.PositiveIntegerField(default=1, editable=False)),
                (
                    "state",
                    models.PositiveSmallIntegerField(
                        choices=[
                            (0, "Unseen"),
                            (1, "Seen"),
                            (2, "Read"),
                            (3, "Archived"),
                            (4, "Withdrawn"),
                            (5, "Expired"),
                        ],
                        default=0,
                    ),
                ),
                ("kind", models.CharField(max_length=100)),
                ("category", models.CharField(blank=True, max_length=50)),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "Low"), (1, "Normal"), (2, "High")], default=1
                    ),
                ),
                ("params", notifications.inbox.models.ParamsField(blank=True, default=dict)),
                ("actor_id", models.CharField(blank=True, max_length=255)),
                ("target_id", models.CharField(blank=True, max_length=255)),
                ("url", models.CharField(blank=True, max_length=2000)),
                ("group", models.CharField(blank=True, max_length=190)),
                ("replaces", models.CharField(max_length=190, null=True)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("seen_at", models.DateTimeField(null=True)),
                ("read_at", models.DateTimeField(null=True)),
                ("archived_at", models.DateTimeField(null=True)),
                ("withdrawn_at", models.DateTimeField(null=True)),
                ("expired_at", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(null=True)),
                (
                    "actor_type",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="contenttypes.contenttype",
                    ),
                ),
                (
                    "recipient",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "target_type",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="contenttypes.contenttype",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["recipient", "number"], name="carillon_list"),
                    models.Index(fields=["recipient", "state", "category"], name="carillon_counts"),
                    models.Index(fields=["target_type", "target_id"], name="carillon_target"),
                    models.Index(fields=["created_at"], name="carillon_created"),
                    models.Index(fields=["expires_at"], name="carillon_expires"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("recipient", "replaces"), name="carillon_one_to_replace"
                    )
                ],
            },
        ),
    ]
