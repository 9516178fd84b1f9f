"""Links that end the e-mails of a category with one click, and without a login (RFC 8058)."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core import signing
from django.core.exceptions import ValidationError
from django.urls import reverse

from notifications.conf import namespace as namespaces
from notifications.errors import Invalid
from notifications.inbox.channels import Channel, Choice
from notifications.inbox.kinds import find_category
from notifications.inbox.preferences.choices import offers
from notifications.inbox.preferences.person import Changes, write_changes

SALT = "carillon.unsubscribe"


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a link is about: a person, a channel, and a category, or None for all of them."""

    recipient: str
    channel: Channel
    category: str | None


def unsubscribe_path(recipient_id: Any, channel: Channel, category: str | None) -> str:
    """The path of a link for this person. It is valid for as long as `SECRET_KEY` is."""
    content = [namespaces.current(), str(recipient_id), str(channel), category]
    link = signing.Signer(salt=SALT).sign_object(content)
    return reverse("carillon:unsubscribe", args=[link])


def read_link(link: str) -> Subscription:
    """Raises `Invalid` for what is no link of ours, or of another tenant."""
    try:
        namespace, recipient, channel, category = signing.Signer(salt=SALT).unsign_object(link)
        subscription = Subscription(recipient, Channel(channel), category)
    except (signing.BadSignature, ValueError, TypeError):
        raise Invalid("This link is not complete: copy all of it.") from None
    if namespace != namespaces.current():
        raise Invalid("This link is of another site.")
    return subscription


def switch(subscription: Subscription, *, is_on: bool) -> None:
    """Switch it off, or on again. Repeating changes nothing. Raises `Invalid` where it is fixed."""
    channel, category = subscription.channel, subscription.category
    if is_on and category is None:  # some of them were perhaps never wanted
        raise Invalid("Choose in the settings which of these you want again.")
    if category is not None and find_category(category).choice(channel) is Choice.ALWAYS:
        raise Invalid("These cannot be switched off.")
    names = [category] if category is not None else list(_switchable(channel))
    user_model = get_user_model()
    try:
        user = user_model._default_manager.filter(pk=subscription.recipient).first()  # noqa: SLF001
    except (ValueError, ValidationError):
        user = None
    if user is not None:  # who was deleted gets no e-mails either
        write_changes(user, Changes({(name, channel): is_on for name in names}))


def _switchable(channel: Channel) -> "list[str]":
    return [
        offer.name
        for offer in offers()
        if offer.channels.get(channel, Choice.ALWAYS) is not Choice.ALWAYS
    ]
