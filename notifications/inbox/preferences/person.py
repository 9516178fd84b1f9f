"""One person's preferences: read and changed as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.db import connections, router, transaction
from django.db.models import Model

from notifications.errors import Invalid
from notifications.inbox.channels import Channel, Choice, Digest
from notifications.inbox.preferences.choices import chosen_by, is_on, offers, preferences
from notifications.inbox.preferences.times import zone_names
from notifications.inbox.table import APP_LABEL, notifications

if TYPE_CHECKING:
    from notifications.inbox.models import Schedule


def schedules() -> "type[Schedule]":
    return apps.get_model(APP_LABEL, "Schedule")


@dataclass(frozen=True, slots=True)
class Changes:
    """What a person changes; what is not named stays as it is."""

    channels: Mapping[tuple[str, Channel], bool] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=dict)
    """Columns of `Schedule`, with their new values."""


def _database() -> str:
    return router.db_for_write(notifications())


def read_preferences(user: Model) -> dict[str, Any]:
    """All that a person may choose, and has chosen, as clients know it: by two queries."""
    using = _database()
    chosen, schedule = chosen_by(user.pk, using), schedule_of(user.pk, using)
    return {
        "categories": [
            {
                "name": offer.name,
                "title": offer.title,
                "channels": {
                    str(channel): {
                        "on": is_on(offer.name, channel, chosen),
                        "fixed": choice is Choice.ALWAYS,
                    }
                    for channel, choice in offer.channels.items()
                },
            }
            for offer in offers()
        ],
        "time_zone": schedule.time_zone,
        "quiet": _quiet(schedule),
        "digest": schedule.digest,
        "digest_at": _text(schedule.digest_at),
        "digest_weekday": schedule.digest_weekday,
    }


def schedule_of(recipient_id: Any, using: str) -> "Schedule":
    """The row of a person, or one of the defaults."""
    found = schedules().objects.using(using).filter(pk=recipient_id).first()
    return found or schedules()(recipient_id=recipient_id)


def _quiet(schedule: "Schedule") -> dict[str, str] | None:
    if schedule.quiet_from is None or schedule.quiet_until is None:
        return None
    return {"from": _text(schedule.quiet_from), "until": _text(schedule.quiet_until)}


def _text(at: time) -> str:
    return at.strftime("%H:%M")


def change_preferences(user: Model, changes: Changes) -> None:
    """Change what a person has chosen, all of it or nothing. Raises `Invalid`."""
    _check(changes)
    write_changes(user, changes)


def write_changes(user: Model, changes: Changes) -> None:
    """As `change_preferences`, for what is known to be right."""
    using = _database()
    with transaction.atomic(using=using):
        if changes.channels:
            _upsert(
                [
                    preferences()(
                        recipient_id=user.pk, category=category, channel=channel, is_on=on
                    )
                    for (category, channel), on in sorted(changes.channels.items())
                ],
                ["recipient", "category", "channel"],
                ["is_on"],
                using,
            )
        if changes.schedule:
            schedule = schedule_of(user.pk, using)
            for column, value in changes.schedule.items():
                setattr(schedule, column, value)
            _upsert([schedule], ["recipient"], sorted(changes.schedule), using)


def _check(changes: Changes) -> None:
    offered = {offer.name: offer.channels for offer in offers()}
    for (category, channel), on in changes.channels.items():
        choice = offered.get(category, {}).get(channel)
        if choice is None:
            raise Invalid(
                f"There is nothing to choose for {category!r} by {str(channel)!r}.",
                field="categories",
            )
        if choice is Choice.ALWAYS and not on:
            raise Invalid(
                f"{category!r} by {str(channel)!r} cannot be switched off.", field="categories"
            )
    zone = changes.schedule.get("time_zone")
    if zone and zone not in zone_names():
        raise Invalid(f"There is no time zone {zone!r}, such as Europe/Berlin.", field="time_zone")
    begins, ends = (changes.schedule.get(name) for name in ("quiet_from", "quiet_until"))
    if begins is not None and begins == ends:
        raise Invalid("Quiet hours begin and end at different times.", field="quiet")
    Digest(changes.schedule.get("digest", Digest.OFF))


def _upsert(rows: list[Any], unique: list[str], columns: list[str], using: str) -> None:
    """In one statement, so that two requests at once do not meet."""
    can_name = connections[using].features.supports_update_conflicts_with_target
    type(rows[0]).objects.using(using).bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=unique if can_name else None,
        update_fields=columns,
    )
