"""Which channels a category offers, and which of them are on for whom."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.utils.translation import gettext

from notifications.inbox.channels import Channel, Choice
from notifications.inbox.kinds import Category, categories, delays, find_category, kinds
from notifications.inbox.table import APP_LABEL

if TYPE_CHECKING:
    from notifications.inbox.models import Preference

type Chosen = Mapping[tuple[str, Channel], bool]
"""What a person has switched on or off, by category and channel."""


def preferences() -> "type[Preference]":
    return apps.get_model(APP_LABEL, "Preference")


@dataclass(frozen=True, slots=True)
class Offer:
    """A category as people see it where they choose, with what they may choose of each channel."""

    name: str
    title: str
    channels: Mapping[Channel, Choice]


def offers() -> list[Offer]:
    """The categories that reach people elsewhere or leave a choice, in the active language."""
    names = {category.name for category in categories()} | {kind.category for kind in kinds()}
    found = (_offer(find_category(name)) for name in names)
    only_listed = {Channel.IN_APP: Choice.ALWAYS}
    made = [offer for offer in found if offer.channels != only_listed]
    return sorted(made, key=lambda offer: (not offer.name, offer.title.casefold()))


def _offer(category: Category) -> Offer:
    of_kinds = {
        channel for kind in kinds() if kind.category == category.name for channel in delays(kind)
    }
    channels = {
        channel: category.choice(channel)
        for channel in Channel
        if channel is Channel.IN_APP or channel in of_kinds
    }
    return Offer(category.name, title_of(category), channels)


def title_of(category: Category) -> str:
    return str(category.title) or category.name or gettext("Other notifications")


def is_on(category: str, channel: Channel, chosen: Chosen) -> bool:
    choice = find_category(category).choice(channel)
    if choice is Choice.ALWAYS:
        return True
    return chosen.get((category, channel), choice is Choice.ON)


def chosen_by(recipient_id: Any, using: str) -> dict[tuple[str, Channel], bool]:
    """What one person has chosen, by one query."""
    rows = preferences().objects.using(using).filter(recipient_id=recipient_id)
    return {
        (category, Channel(channel)): on
        for category, channel, on in rows.values_list("category", "channel", "is_on")
        if channel in Channel
    }


def without_channel(
    category: str, channel: Channel, recipient_ids: Collection[Any], using: str
) -> set[Any]:
    """Those who do not want this channel: by one query, or none if nobody can switch it off."""
    choice = find_category(category).choice(channel)
    if choice is Choice.ALWAYS:
        return set()
    rows = preferences().objects.using(using)
    other = rows.filter(
        recipient_id__in=recipient_ids,
        category=category,
        channel=channel,
        is_on=choice is not Choice.ON,
    )
    others: Iterable[Any] = other.values_list("recipient_id", flat=True)
    return set(others) if choice is Choice.ON else set(recipient_ids) - set(others)
