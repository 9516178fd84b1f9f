"""Whatever happens to an inbox, a page that follows its events ends where a fresh page begins."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from notifications import notify
from notifications.inbox import Action, ids, kind, lists, mark, withdraw
from notifications.inbox.changes import expire
from notifications.inbox.models import LastNumber, Notification
from notifications.inbox.states import State
from notifications.models import OutboxEvent
from notifications.publishing.outbox import completion, table
from tests.unit.inbox.inboxes import Client, Inboxes

EXAMPLES, EXAMPLE_STEPS = 25, 40
kind("history", text="{{ text }}", category="other")
type Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass
class Log:
    """What the relay has published, each event once, with its idempotency key."""

    events: dict[object, Any] = field(default_factory=dict)

    def data(self) -> list[Any]:
        return list(self.events.values())


@dataclass
class Tab:
    """A page of a person, which reads the log from its cursor on."""

    user: User
    client: Client = field(default_factory=Client)
    cursor: int = 0

    def load(self, log: Log) -> None:
        """As the page does it: the cursor first, and then the state."""
        self.cursor = len(log.events)
        self.client = Client()
        self.client.snapshot(self.user)

    def follow(self, log: Log, most: int | None = None) -> None:
        until = None if most is None else self.cursor + most
        for topic, data in log.data()[self.cursor : until]:
            self.cursor += 1
            if topic == f"user.{self.user.pk}":
                self.client.take(data)


class AnyHistory(RuleBasedStateMachine):
    """The same steps have the same history: ids, and so their order, are the same each time."""

    inboxes: ClassVar[Inboxes]
    random: ClassVar[Random]

    def __init__(self) -> None:
        super().__init__()
        for model in (Notification, LastNumber, OutboxEvent):
            model.objects.using(self.inboxes.alias).all().delete()
        self.random.seed(0)
        self.log = Log()
        self.people = (self.inboxes.ada, self.inboxes.bob)
        self.tabs = [Tab(user) for user in (*self.people, self.inboxes.ada)]
        for tab in self.tabs:
            tab.load(self.log)

    @rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """One rule, since of several rules an example leaves some out."""
        data.draw(st.sampled_from(STEPS))(self, data.draw)

    def notify(self, draw: Draw) -> None:
        users = draw(st.sampled_from([self.people, self.people[:1], self.people[1:]]))
        with transaction.atomic(self.inboxes.alias):
            notify(
                users,
                draw(st.sampled_from(["message", "history"])),
                {"text": draw(st.text("abc", min_size=1, max_size=2))},
                replaces=draw(st.sampled_from(["", "", "x", "y"])),
                expires=draw(st.sampled_from([None, timedelta(0), timedelta(hours=1)])),
            )
            self.maybe_roll_back(draw)

    def mark_some(self, draw: Draw) -> None:
        tab = draw(st.sampled_from(self.tabs))
        if rows := sorted(tab.client.rows):
            chosen = draw(st.lists(st.sampled_from(rows), unique=True, max_size=3))
            mark(tab.user, draw(st.sampled_from(Action)), ids=map(UUID, chosen))

    def mark_all_that_are_shown(self, draw: Draw) -> None:
        tab = draw(st.sampled_from(self.tabs))
        newest = max((row["number"] for row in tab.client.rows.values()), default=0)
        with transaction.atomic(self.inboxes.alias):
            mark(tab.user, draw(st.sampled_from(Action)), up_to=newest)
            self.maybe_roll_back(draw)

    def maybe_roll_back(self, draw: Draw) -> None:
        rolls_back = draw(st.sampled_from([False, False, False, True]))
        transaction.set_rollback(rolls_back, using=self.inboxes.alias)

    def withdraw(self, draw: Draw) -> None:
        user = draw(st.sampled_from([None, *self.people]))
        withdraw(user, replaces=draw(st.sampled_from(["x", "y"])))

    def expire(self, _: Draw) -> None:
        expire(using=self.inboxes.alias)

    def delete_one(self, _: Draw) -> None:
        """Of those that are in no list any more, as `carillon tidy` deletes them."""
        rows = Notification.objects.using(self.inboxes.alias)
        gone = rows.filter(state__gte=State.ARCHIVED).order_by("number", "pk").first()
        if gone is not None:
            gone.delete(using=self.inboxes.alias)

    def relay(self, draw: Draw) -> None:
        self.publish(
            rows=draw(st.integers(1, 4)),
            crash=draw(st.sampled_from(["", "", "", "numbered", "published"])),
        )

    def publish(self, *, rows: int, crash: str = "") -> None:
        waiting = [
            event for row in table.oldest(self.inboxes.alias, rows) for event in row.events()
        ][:rows]
        completed = completion.completed(self.inboxes.alias, waiting)
        if crash == "numbered":
            return
        for event, data in zip(waiting, completed, strict=True):
            published = event.draft(data).event
            data = json.loads(published.encoded)
            self.log.events.setdefault(event.key, (published.topics[0], data))
        if crash != "published":
            table.remove(waiting, using=self.inboxes.alias)

    def follow(self, draw: Draw) -> None:
        draw(st.sampled_from(self.tabs)).follow(self.log, draw(st.integers(1, 3)))

    def reset(self, draw: Draw) -> None:
        draw(st.sampled_from(self.tabs)).load(self.log)

    def teardown(self) -> None:
        while table.oldest(self.inboxes.alias, 1):
            self.publish(rows=100)
        for tab in self.tabs:
            tab.follow(self.log)
            fresh = Client()
            fresh.snapshot(tab.user)
            assert tab.client.shown == fresh.shown
            assert tab.client.counts == fresh.counts == lists.counts(tab.user)


STEPS = [
    *[AnyHistory.notify] * 4,
    *[AnyHistory.relay] * 4,
    *[AnyHistory.follow] * 3,
    *[AnyHistory.mark_some] * 2,
    *(AnyHistory.mark_all_that_are_shown, AnyHistory.withdraw, AnyHistory.expire),
    *(AnyHistory.delete_one, AnyHistory.reset),
]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_page_that_follows_events_ends_as_a_fresh_page_begins(
    inboxes: Inboxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnyHistory, "inboxes", inboxes, raising=False)
    monkeypatch.setattr(AnyHistory, "random", random := Random(), raising=False)
    monkeypatch.setattr(ids, "secrets", SimpleNamespace(randbits=random.getrandbits))
    monkeypatch.setattr(ids, "time", SimpleNamespace(time_ns=lambda: 0))
    run_state_machine_as_test(
        AnyHistory,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=EXAMPLE_STEPS,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
