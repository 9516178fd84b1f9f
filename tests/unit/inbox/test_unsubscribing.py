"""One click ends the e-mails of a category, without a login and as RFC 8058 has it."""

import re

import pytest
from django.core import mail, signing
from django.core.mail import EmailMultiAlternatives
from django.test import Client
from pytest_django import Settings as DjangoSettings

from notifications import notify
from notifications.inbox import send_due
from notifications.inbox.channels import Channel
from notifications.inbox.delivery.unsubscribing import SALT, unsubscribe_path
from notifications.inbox.models import Preference, Schedule
from notifications.inbox.preferences.person import read_preferences
from tests.unit.inbox.inboxes import Inboxes
from tests.unit.inbox.mailing import DAY, HOUR, Clock

pytestmark = [
    pytest.mark.usefixtures("mailing"),
    pytest.mark.parametrize("database", ["sqlite"], indirect=True),
]


def mailed(inboxes: Inboxes, clock: Clock, kind: str = "order.paid") -> EmailMultiAlternatives:
    notify(inboxes.ada, kind)
    clock.pass_by(HOUR)
    send_due()
    message = mail.outbox[-1]
    assert isinstance(message, EmailMultiAlternatives)
    return message


def path_of(message: EmailMultiAlternatives) -> str:
    header = re.fullmatch("<https://shop.example(/.*)>", message.extra_headers["List-Unsubscribe"])
    assert header
    return header[1]


def is_on(inboxes: Inboxes, name: str) -> bool:
    found = read_preferences(inboxes.ada)["categories"]
    [on] = [each["channels"]["email"]["on"] for each in found if each["name"] == name]
    return bool(on)


def test_the_button_of_a_mailbox_needs_no_login_and_no_token(
    inboxes: Inboxes, clock: Clock
) -> None:
    message = mailed(inboxes, clock)
    assert message.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert path_of(message) in str(message.body)
    mailbox = Client(enforce_csrf_checks=True)
    for _ in range(2):
        answer = mailbox.post(path_of(message), {"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200
        assert not is_on(inboxes, "orders")
    assert Preference.objects.count() == 1
    notify(inboxes.ada, "order.paid")
    clock.pass_by(HOUR)
    assert send_due().suppressed == 1


def test_the_address_is_sent_as_it_is(inboxes: Inboxes, clock: Clock) -> None:
    """Longer than a line, and neither folded nor encoded."""
    message = mailed(inboxes, clock)
    line = f"\nList-Unsubscribe: <https://shop.example{path_of(message)}>\n"
    assert len(line) > 100
    assert line.encode() in message.message().as_bytes()


def test_following_the_link_asks_and_can_be_taken_back(inboxes: Inboxes, clock: Clock) -> None:
    path = path_of(mailed(inboxes, clock))
    page = Client().get(path)
    assert "No more e-mails about Orders?" in page.content.decode()
    assert "default-src 'none'" in page["Content-Security-Policy"]
    assert is_on(inboxes, "orders")
    assert "No more e-mails about Orders\n" in Client().post(path).content.decode()
    assert not is_on(inboxes, "orders")
    assert "about Orders are on" in Client().post(path, {"again": "on"}).content.decode()
    assert is_on(inboxes, "orders")


def test_that_of_a_digest_ends_all_that_can_be_switched_off(inboxes: Inboxes, clock: Clock) -> None:
    Schedule.objects.create(recipient=inboxes.ada, digest="daily")
    notify(inboxes.ada, "order.paid")
    clock.pass_by(HOUR)
    send_due()
    clock.pass_by(DAY)
    send_due()
    [message] = mail.outbox
    assert isinstance(message, EmailMultiAlternatives)
    page = Client().post(path_of(message)).content.decode()
    assert "No more e-mails" in page
    assert "Take it back" not in page  # some of them were perhaps never wanted
    assert Client().post(path_of(message), {"again": "on"}).status_code == 400
    assert not is_on(inboxes, "orders")
    assert is_on(inboxes, "alarms")


def test_what_cannot_be_switched_off_has_no_such_link(inboxes: Inboxes, clock: Clock) -> None:
    message = mailed(inboxes, clock, "alarm")
    assert "List-Unsubscribe" not in message.extra_headers
    assert "No more such e-mails" not in str(message.body)
    old = unsubscribe_path(inboxes.ada.pk, Channel.EMAIL, "alarms")
    assert Client().post(old).status_code == 400
    assert is_on(inboxes, "alarms")


def test_a_link_that_is_not_ours_is_a_problem(inboxes: Inboxes, clock: Clock) -> None:
    path = path_of(mailed(inboxes, clock))
    of_ada = [str(inboxes.ada.pk), "email", "orders"]
    other = signing.Signer(salt=SALT).sign_object(["acme", *of_ada])
    foreign = signing.Signer(salt="other").sign_object(["", *of_ada])
    for link in (path[:-1], path + "x", "x", f"/inbox/unsubscribe/{other}"):
        answer = Client().post(link if link.startswith("/") else f"/inbox/unsubscribe/{link}")
        assert answer.status_code == 400, link
    assert Client().post(f"/inbox/unsubscribe/{foreign}").status_code == 400
    assert Client().put(path).status_code == 405
    assert is_on(inboxes, "orders")


def test_a_site_that_requires_a_login_everywhere_leaves_the_link_alone(
    inboxes: Inboxes, clock: Clock, settings: DjangoSettings
) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
    ]
    path = path_of(mailed(inboxes, clock))
    assert Client().post(path).status_code == 200
    assert not is_on(inboxes, "orders")


def test_somebody_who_was_deleted_gets_the_same_answer(inboxes: Inboxes, clock: Clock) -> None:
    path = path_of(mailed(inboxes, clock))
    inboxes.ada.delete()
    assert Client().post(path).status_code == 200
