"""What sends by itself: `carillon relay`, `carillon deliver`; and the checks for the operator."""

import io
import smtplib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import OperationalError
from pytest_django import Settings as DjangoSettings

from notifications import notify
from notifications.conf import get_settings
from notifications.inbox import Push, kind
from notifications.inbox.delivery import threads
from notifications.inbox.delivery.deliverer import Deliverer
from notifications.inbox.delivery.states import DeliveryState
from notifications.inbox.delivery.threads import DeliveryThread, delivery_threads
from notifications.inbox.models import Delivery
from tests.unit.inbox.inboxes import Inboxes
from tests.unit.inbox.mailing import HOUR, START, Backend, reasons
from tests.unit.inbox.shop import no_kinds
from tests.unit.publishing.outbox.reading import wait_until

pytestmark = pytest.mark.usefixtures("mailing")


def make_due() -> None:
    Delivery.objects.update(due_at=START - timedelta(days=365))


@contextmanager
def delivering(inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeliveryThread]:
    monkeypatch.setattr(threads, "POLL_SECONDS", 0.05)
    [thread] = delivery_threads(inboxes.alias, get_settings())
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()


def test_the_thread_of_a_relay_sends_what_is_due(
    inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with delivering(inboxes, monkeypatch):
        notify([inboxes.ada, inboxes.bob], "order.paid")
        make_due()
        wait_until(lambda: len(mail.outbox) == 2)
    assert reasons() == [("sent", "")] * 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_it_goes_on_after_failures_of_the_server_and_the_database(
    inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "carillon")
    monkeypatch.setattr(threads, "LONGEST_FAILURE_PAUSE_SECONDS", 0.05)
    notify(inboxes.ada, "order.paid")
    make_due()
    errors: list[Exception] = [
        smtplib.SMTPSenderRefused(530, b"log in", "shop"),
        OperationalError("gone"),
        KeyError("a bug"),
    ]
    real, went_wrong = Deliverer.deliver_some, threading.Event()

    def fail_first(deliverer: Any) -> bool:
        if errors:
            error = errors.pop()
            if not isinstance(error, smtplib.SMTPException):
                raise error
            went_wrong.set()
            Backend.fault = _raise_once(error)
        return real(deliverer)

    monkeypatch.setattr(Deliverer, "deliver_some", fail_first)
    with delivering(inboxes, monkeypatch):
        wait_until(lambda: len(mail.outbox) == 1)
    assert went_wrong.is_set()
    lines = [record.message for record in caplog.records]
    assert any("delivery.broken" in line for line in lines)
    assert any("delivery.recovered" in line for line in lines)


def _raise_once(error: Exception) -> Any:
    def fail(_: object) -> None:
        Backend.fault = None
        raise error

    return fail


def test_a_command_delivers_once_and_another_shows_what_waits(inboxes: Inboxes) -> None:
    def run(*arguments: str) -> str:
        output = io.StringIO()
        call_command("carillon", *arguments, stdout=output)
        return output.getvalue()

    notify([inboxes.ada, inboxes.bob], "order.paid")
    make_due()
    assert [line.split()[:2] for line in run("relay", "--status").splitlines()[2:]] == [
        ["DELIVERIES", "WAITING"],
        [inboxes.alias, "2"],
    ]

    def refuse(_: object) -> None:
        Backend.fault = None
        raise smtplib.SMTPDataError(554, b"no")

    Backend.fault = refuse
    assert run("deliver") == "Sent: 1. Suppressed: 0. Postponed: 0. Failed: 1. Closed: 0.\n"
    assert run("relay", "--status").splitlines()[3].split() == [inboxes.alias, "0", "-", "1"]
    assert "Tried again: 1" in run("relay", "--retry-refused")
    assert run("deliver").startswith("Sent: 1.")

    def be_away(_: object) -> None:
        raise smtplib.SMTPSenderRefused(530, b"log in", "shop")

    notify(inboxes.ada, "order.paid")
    make_due()
    Backend.fault = be_away
    with pytest.raises(CommandError, match="log in"):
        run("deliver")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_digest_that_failed_is_tried_again_in_the_next_one(inboxes: Inboxes) -> None:
    from notifications.inbox.delivery.table import retry_failed

    notify(inboxes.ada, "order.paid")
    [part] = Delivery.objects.all()
    digest = Delivery.objects.create(
        recipient=inboxes.ada, channel="email", due_at=START, digest_at=START, state=4
    )
    Delivery.objects.filter(pk=part.pk).update(state=DeliveryState.FAILED, digest=digest.pk)
    assert retry_failed(inboxes.alias) == 1
    part.refresh_from_db()
    assert (part.state, part.digest) == (DeliveryState.WAITING, None)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_each_channel_that_a_kind_asks_for_has_a_thread(inboxes: Inboxes) -> None:
    assert len(delivery_threads(inboxes.alias, get_settings())) == 1
    kind("pushed", text="Pushed", push=Push())
    assert len(delivery_threads(inboxes.alias, get_settings())) == 2
    with no_kinds():
        assert delivery_threads(inboxes.alias, get_settings()) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_checks_name_what_is_missing(inboxes: Inboxes, settings: DjangoSettings) -> None:
    def ids(**options: Any) -> set[str]:
        return {str(each.id) for each in run_checks(**options)} & {
            *("carillon.E010", "carillon.W044", "carillon.W045"),
        }

    assert ids() == set()
    settings.CARILLON = {**settings.CARILLON, "SITE_URL": "http://shop.example"}
    assert ids() == {"carillon.W044"}
    settings.CARILLON = {**settings.CARILLON, "SITE_URL": None}
    assert ids() == {"carillon.E010"}
    notify(inboxes.ada, "order.paid")
    make_due()
    with pytest.raises(CommandError, match="SITE_URL"):
        call_command("carillon", "deliver")
    assert Delivery.objects.get().holder == ""
    with no_kinds():
        assert ids() == set()
        late = ids(include_deployment_checks=True, databases=[inboxes.alias])
        assert late == {"carillon.W045"}
    Delivery.objects.update(due_at=START + 1_000 * 24 * HOUR)
    assert "carillon.W045" not in ids(include_deployment_checks=True, databases=[inboxes.alias])
