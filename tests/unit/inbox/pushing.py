"""People with devices, and a shop that sends push messages to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings as DjangoSettings

from notifications.inbox import Priority, Push, category, kind
from notifications.inbox.models import Delivery
from notifications.inbox.push.devices import subscribe
from notifications.inbox.push.keys import make_key
from tests.harness.push_service import PushedDevice, PushService, push_service
from tests.unit.inbox.inboxes import Inboxes
from tests.unit.inbox.shop import no_kinds


@dataclass
class Pushing:
    service: PushService

    def device_of(self, user: User) -> PushedDevice:
        device = self.service.device()
        subscribe(user, endpoint=device.endpoint, **device.subscription["keys"])
        return device


@pytest.fixture
def pushing(settings: DjangoSettings, inboxes: Inboxes) -> Iterator[Pushing]:
    Delivery.objects.all().delete()
    with push_service() as service, no_kinds():
        settings.CARILLON = {
            **settings.CARILLON,
            "SITE_URL": "https://shop.example",
            "PUSH_KEY": make_key(),
            "PUSH_SERVICES": [service.origin],
        }
        category("orders", title="Orders", push=Push(), choices={"in-app": "on"})
        kind("order.paid", text="Paid <b>{{ n }}</b>", category="orders")
        kind("order.late", text="Late", category="orders", push=Push(after=timedelta(minutes=5)))
        kind("alarm", text="Alarm", priority=Priority.HIGH, push=Push(title="Fire!"))
        kind("tip", text="Tip", priority=Priority.LOW, push=Push(topic="tips", ttl=timedelta(0)))
        yield Pushing(service)
