"""The kinds of notifications: declared once, in the module `kinds` of an application.

from notifications.inbox import kind

kind("order.paid", text="Order {{ number }} was paid.", category="orders")
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from notifications.errors import Invalid
from notifications.inbox.channels import (
    DEFAULT_CHOICES,
    Channel,
    Choice,
    Email,
    Push,
    Text,
)
from notifications.inbox.states import MAX_CATEGORY_CHARACTERS, MAX_NAME_CHARACTERS, Priority

if TYPE_CHECKING:
    from notifications.inbox.models import Notification

type MakeContext = Callable[[Notification], Mapping[str, Any]]

_NAME = re.compile(r"[\w.:-]+", re.ASCII)

_kinds: dict[str, "Kind"] = {}
_families: dict[str, "Callable[[str], Kind]"] = {}
_categories: dict[str, "Category"] = {}


@dataclass(eq=False)
class Kind:
    """A kind of notification: how it reads, and what it is about.

    As a decorator it takes a function that gets the notification and returns what its template
    needs in addition to the `params`.
    """

    name: str
    template: str = ""
    text: Text = ""
    category: str = ""
    priority: Priority = Priority.NORMAL
    email: Email | None = None
    push: Push | None = None
    make_context: "MakeContext | None" = field(default=None, init=False)

    def __call__(self, function: "MakeContext") -> "MakeContext":
        self.make_context = function
        return function


def kind(
    name: str,
    *,
    template: str = "",
    text: Text = "",
    category: str = "",
    priority: Priority = Priority.NORMAL,
    email: Email | None = None,
    push: Push | None = None,
) -> Kind:
    """Declare a kind of notification by its `template`, or by the template's source in `text`.

    Both are rendered with the `params` of the notification, its `actor`, `target` and `url`, when
    somebody reads it and in that person's language: let `text` be a `gettext_lazy`. Values are
    escaped, as in every template. What is unseen is mailed if `email` says so, and sent to the
    person's devices if `push` does, here or in the category. Raises `ImproperlyConfigured` for a
    kind that is declared twice or without words.
    """
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARACTERS:
        raise ImproperlyConfigured(
            f"{name!r} is no name of a kind: it has up to {MAX_NAME_CHARACTERS} letters, digits, "
            "and characters of . _ : -"
        )
    if len(category) > MAX_CATEGORY_CHARACTERS:
        raise ImproperlyConfigured(f"A category has at most {MAX_CATEGORY_CHARACTERS} characters.")
    if bool(template) == bool(text):
        raise ImproperlyConfigured(f"The kind {name!r} needs a template or a text, and not both.")
    declared = Kind(name, template, text, category, priority, email, push)
    known = _kinds.get(name)
    # A module that is loaded again declares the same once more.
    if known is not None and (known.template, known.text) != (template, text):
        raise ImproperlyConfigured(f"The kind {name!r} is declared twice.")
    _kinds[name] = declared
    return declared


@dataclass(frozen=True)
class Category:
    """What the notifications of a category have in common."""

    name: str
    keep: timedelta | None = None
    title: Text = ""
    choices: Mapping[Channel, Choice] = field(default_factory=dict)
    email: Email | None = None
    push: Push | None = None

    def choice(self, channel: Channel) -> Choice:
        """What people may choose for this channel."""
        return self.choices.get(channel, DEFAULT_CHOICES[channel])


def category(
    name: str,
    *,
    keep: timedelta | None = None,
    title: Text = "",
    choices: Mapping[Channel, Choice] | Mapping[str, str] | None = None,
    email: Email | None = None,
    push: Push | None = None,
) -> Category:
    """Declare what the notifications of a category have in common.

    They are kept for `keep`, if not for `INBOX_AGE`, and mailed and pushed as `email` and `push`
    say, unless their kind says otherwise. People read the `title` where they choose, and `choices`
    is what they may choose: `{"email": "off"}` is off until somebody switches it on, `"always"`
    cannot be switched off. A category that is no more than a word for its kinds needs no
    declaration. Raises `ImproperlyConfigured` for a choice that there is not.
    """
    try:
        checked = {Channel(each): Choice(choice) for each, choice in (choices or {}).items()}
    except ValueError as error:
        raise ImproperlyConfigured(
            f"The choices of the category {name!r}: {error}. They map one of {_words(Channel)} to "
            f"one of {_words(Choice)}."
        ) from None
    declared = _categories[name] = Category(name, keep, title, checked, email, push)
    return declared


def _words(options: type[Channel | Choice]) -> str:
    return ", ".join(map(repr, map(str, options)))


def find_category(name: str) -> Category:
    """The category of this name, which need not be declared."""
    return _categories.get(name) or Category(name)


def email_of(kind: Kind) -> Email | None:
    """The e-mail that a kind or its category asks for."""
    return kind.email or find_category(kind.category).email


def push_of(kind: Kind) -> Push | None:
    """The push message that a kind or its category asks for."""
    return kind.push or find_category(kind.category).push


def delays(kind: Kind) -> dict[Channel, timedelta]:
    """How long after a notification each channel beyond the inbox has its turn."""
    asked_for = {Channel.EMAIL: email_of(kind), Channel.PUSH: push_of(kind)}
    return {channel: each.after for channel, each in asked_for.items() if each is not None}


def is_asked_for(channel: Channel) -> bool:
    """Whether any kind asks for this channel."""
    return any(channel in delays(kind) for kind in kinds())


def categories() -> Collection[Category]:
    """The declared categories."""
    return _categories.values()


def kinds() -> Collection[Kind]:
    """The kinds that are declared, and those of a family that were needed so far."""
    return _kinds.values()


def find_kind(name: str) -> Kind | None:
    found = _kinds.get(name)
    if found is None and (make := _families.get(name.partition(".")[0])) is not None:
        found = _kinds[name] = make(name)
    return found


def family(prefix: str, make: Callable[[str], Kind]) -> None:
    """Have `make` declare the kinds whose names begin with `prefix` and a dot, each when needed."""
    _families[prefix] = make
    for name in [name for name in _kinds if name.startswith(f"{prefix}.")]:
        del _kinds[name]


def get_kind(name: str) -> Kind:
    """Raises `Invalid`, which names the nearest kind that is declared."""
    found = find_kind(name)
    if found is None:
        near = get_close_matches(name, _kinds, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        raise Invalid(
            f"No kind {name!r} is declared.{meant} Declare it in the module kinds.py of an "
            f'application: kind("{name}", text="…").',
            field="kind",
        )
    return found


MESSAGE = kind("message", text="{{ text }}")
"""The kind for a start: `notify(user, "message", {"text": "Hello"})`."""

# Of other packages: `importing` has their rows, and `compat` what they send.

COMMUNITY = kind("community", template="carillon/inbox/community.html")
GENERIC = "generic"


def generic_kind(name: str) -> Kind:
    """The kind of a type of django-generic-notifications, with the category of the same name."""
    type = name.removeprefix(f"{GENERIC}.")
    text = "{% firstof text fallback subject %}"
    return Kind(name, text=text, category=type[:MAX_CATEGORY_CHARACTERS])


family(GENERIC, generic_kind)
