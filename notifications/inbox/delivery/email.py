"""E-mail by Django: what a message says, and what the answers of the server mean."""

import smtplib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from email.policy import Compat32, EmailPolicy
from email.policy import default as email_policy
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from django import VERSION
from django.conf import settings as django_settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMultiAlternatives
from django.template import Context
from django.template.backends.django import Template
from django.template.loader import select_template
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.safestring import SafeString

from notifications.conf import get_settings
from notifications.inbox.channels import Channel, Choice
from notifications.inbox.delivery.senders import Away, Message, NoText, Refused, Sender, content_of
from notifications.inbox.delivery.unsubscribing import unsubscribe_path
from notifications.inbox.kinds import email_of, find_category, find_kind
from notifications.inbox.languages import languages_of
from notifications.inbox.objects import load_objects
from notifications.inbox.preferences.choices import title_of
from notifications.inbox.rendering import Renderer

if TYPE_CHECKING:
    from email.policy import Policy as PolicyBase

    from notifications.inbox.models import Notification
else:  # it stands before one of two
    PolicyBase = object

MAX_SUBJECT_CHARACTERS = 150
MAX_DIGEST_ENTRIES = 50
"""A digest of more names only the newest, and how many more there are."""
TIMEOUT_SECONDS = 30.0
"""How long the server may take for an answer, where `EMAIL_TIMEOUT` says nothing."""
UNSUBSCRIBE_HEADER = "List-Unsubscribe"
ONE, DIGEST = "carillon/email/notification", "carillon/email/digest"


class EmailSender(Sender):
    """Keeps one connection for all messages until it is closed."""

    def __init__(self) -> None:
        self._backend: Any = None

    def can_reach(self, recipient: Any, using: str) -> bool:
        return bool(_address(recipient))

    def send(self, message: Message) -> None:
        email = compose(message)
        backend = self._open()
        try:
            sent = backend.send_messages([email])
        except Exception as error:
            self.close()
            if meant := _meaning(error):
                raise meant from error
            raise
        if sent == 0:  # None is what some backends return
            raise Away("The e-mail backend sends nothing, and does not say why.")

    def _open(self) -> Any:
        if self._backend is None:
            try:
                backend = _default_backend()
                if getattr(backend, "timeout", 0) is None:
                    backend.timeout = TIMEOUT_SECONDS
                backend.open()
            except (OSError, ImproperlyConfigured) as error:
                raise Away(str(error) or repr(error)) from error
            self._backend = backend
        return self._backend

    def close(self) -> None:
        if self._backend is not None:
            with suppress(Exception):
                self._backend.close()
            self._backend = None


def _default_backend() -> Any:
    mailers = getattr(mail, "mailers", None)  # since Django 6.1
    return mail.get_connection() if mailers is None else mailers.default


def _meaning(error: Exception) -> Exception | None:
    """What the error says for certain: that the message is refused, or the server away."""
    match error:
        case smtplib.SMTPRecipientsRefused(recipients=answers):
            is_final = all(code >= 500 for code, _ in answers.values())
            return Refused(str(error)) if is_final else None
        case smtplib.SMTPDataError(smtp_code=code):
            return Refused(str(error)) if code >= 500 else None
        # The others have the same sender.
        case smtplib.SMTPSenderRefused() | smtplib.SMTPAuthenticationError():
            return Away(str(error))
        case ValueError():  # a header or an address that cannot be written
            return Refused(str(error))
    return None


def _address(recipient: Any) -> str:
    return getattr(recipient, recipient.get_email_field_name(), None) or ""


# What a message says


def site_url() -> str:
    """`CARILLON["SITE_URL"]` without a slash at its end. Raises `ImproperlyConfigured`."""
    url = get_settings().SITE_URL
    if url is None:
        raise ImproperlyConfigured(
            "CARILLON['SITE_URL'] is not set: e-mails need the address of the site, such as "
            "https://example.com, for their links."
        )
    return url.rstrip("/")


class PersonalEmail(EmailMultiAlternatives):
    """Django's message, with a header that mailboxes can read."""

    def message(self, *arguments: Any, **options: Any) -> Any:
        if VERSION < (6, 0):
            made: Any = super().message()
            made.policy = _OlderPolicy()
            return made
        policy = options.get("policy") or email_policy
        options["policy"] = _NewerPolicy(
            linesep=policy.linesep, utf8=policy.utf8, cte_type=policy.cte_type
        )
        return super().message(*arguments, **options)


class _WholeAddress(PolicyBase):
    """Python folds or encodes an address longer than a line, and mailboxes do not decode that."""

    def fold(self, name: str, value: Any) -> str:
        if name == UNSUBSCRIBE_HEADER:
            return f"{name}: {value}{self.linesep}"
        folded: str = super().fold(name, value)
        return folded

    def fold_binary(self, name: str, value: Any) -> bytes:
        if name == UNSUBSCRIBE_HEADER:
            return self.fold(name, value).encode()
        folded: bytes = super().fold_binary(name, value)
        return folded


class _NewerPolicy(_WholeAddress, EmailPolicy):
    """That of messages since Django 6.0."""


class _OlderPolicy(_WholeAddress, Compat32):
    """That of messages before."""


def compose(message: Message) -> PersonalEmail:
    """The e-mail, in the language and the time zone of its person. Raises `NoText`."""
    some = message.notifications[:MAX_DIGEST_ENTRIES]
    [language] = languages_of([some[0].recipient_id], message.using)
    load_objects(some)
    with translation.override(language), timezone.override(message.zone):
        context = _context(message, some)
        begins, otherwise = _templates(message, some[0])
        subject = _plain(begins, otherwise, "_subject.txt", context)
        email = PersonalEmail(
            subject=" ".join(subject.split())[:MAX_SUBJECT_CHARACTERS],
            body=_plain(begins, otherwise, ".txt", context),
            to=[_address(message.recipient)],
            headers=_headers(message, context["unsubscribe_url"]),
        )
        html = select_template([f"{begins}.html", f"{otherwise}.html"]).render(context)
    email.attach_alternative(html, "text/html")
    return email


def _templates(message: Message, first: "Notification") -> tuple[str, str]:
    if message.is_digest:
        return DIGEST, DIGEST
    kind = find_kind(first.kind)
    asked_for = None if kind is None else email_of(kind)
    return (asked_for.template if asked_for else "") or ONE, ONE


def _context(message: Message, some: "Sequence[Notification]") -> dict[str, Any]:
    renderer, site = Renderer(), site_url()
    entries = [_entry(row, renderer, site) for row in some]
    shown = [entry for entry in entries if entry["text"]]
    if not shown:
        raise NoText(f"The text of the kind {some[0].kind!r} is empty: see inbox.render_failed.")
    category = None if message.is_digest else some[0].category
    path = unsubscribe_path(message.recipient.pk, Channel.EMAIL, category)
    return {
        **shown[0],
        "entries": shown,
        "count": len(message.notifications),
        "more": len(message.notifications) - len(shown),
        "recipient": message.recipient,
        "category": "" if category is None else title_of(find_category(category)),
        "site_url": site,
        "inbox_url": site + reverse("carillon:inbox-page"),
        "preferences_url": site + reverse("carillon:preferences-page"),
        "unsubscribe_url": site + path if _can_be_switched_off(category) else "",
    }


def _can_be_switched_off(category: str | None) -> bool:
    if category is None:
        return True
    return find_category(category).choice(Channel.EMAIL) is not Choice.ALWAYS


def _entry(row: "Notification", renderer: Renderer, site: str) -> dict[str, Any]:
    content = content_of(row, renderer)
    return {
        "notification": row,
        "html": SafeString(content.html),
        "text": content.text,
        "url": urljoin(f"{site}/", row.url) if row.url else "",
        "created": row.created_at,
        "params": row.params,
        "actor": row.actor,
        "target": row.target,
    }


def _plain(begins: str, otherwise: str, ends: str, context: Mapping[str, Any]) -> str:
    """A text without tags has nothing to escape."""
    template: Any = select_template([begins + ends, otherwise + ends])
    if isinstance(template, Template):
        return str(template.template.render(Context(dict(context), autoescape=False)))
    return str(template.render(context))


def _headers(message: Message, unsubscribe_url: str) -> dict[str, str]:
    domain = parseaddr(django_settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    headers = {
        # The same at each attempt, so that a mailbox recognises a repetition.
        "Message-ID": f"<{message.id.hex}@{domain}>",
        "Auto-Submitted": "auto-generated",
    }
    if unsubscribe_url:  # RFC 8058
        headers[UNSUBSCRIBE_HEADER] = f"<{unsubscribe_url}>"
        headers["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    return headers
