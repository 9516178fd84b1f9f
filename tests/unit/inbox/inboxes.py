"""People with inboxes, what was published to them, and a client that follows it."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connections

from notifications import user_topic
from notifications.conf import get_settings
from notifications.inbox import lists
from notifications.publishing.outbox import publish_waiting
from tests.harness.published import read_published

LISTED = ("unseen", "seen", "read")


@dataclass
class Inboxes:
    """Two people, and the database of their notifications."""

    alias: str
    ada: User
    bob: User

    def relay(self) -> int:
        """Publish what is committed, as the relay does."""
        return publish_waiting(self.alias, get_settings())

    def relay_in_thread(self) -> None:
        try:
            self.relay()
        finally:
            connections[self.alias].close()

    def published(self, user: User) -> list[dict[str, Any]]:
        """The data of all events of a person's inbox."""
        entries = asyncio.run(read_published())
        assert {entry.type for entry in entries} <= {b"inbox.changed"}
        return [json.loads(entry.data) for entry in entries if user_topic(user) in entry.topics]

    def texts(self, user: User) -> list[str]:
        """What the list of a person says, newest first."""
        return [each["text"] for each in lists.page(user).notifications]

    def states(self, user: User) -> list[str]:
        return [each["state"] for each in lists.page(user, state="all").notifications]

    def ids(self, user: User) -> list[UUID]:
        return [UUID(each["id"]) for each in lists.page(user, state="all").notifications]


@dataclass
class Client:
    """A page of one person. It follows events by the rules of docs/inbox.md."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)

    def snapshot(self, user: User) -> None:
        shown = lists.page(user, limit=lists.MAX_LIMIT).notifications
        self.rows = {each["id"]: each for each in shown}
        self.counts = lists.counts(user)

    def take(self, data: dict[str, Any]) -> None:
        assert "refresh" not in data
        for entry in data["notifications"]:
            known = self.rows.get(entry["id"])
            is_older = known is not None and known["version"] > entry.get(
                "version", known["version"]
            )
            if is_older or (known is None and "text" not in entry):
                continue
            self.rows[entry["id"]] = {**(known or {}), **entry}
        self.rows = {id: row for id, row in self.rows.items() if row["state"] in LISTED}
        self.counts = data["counts"]

    @property
    def shown(self) -> list[tuple[str, str, str]]:
        """The list as it is shown: newest first."""
        newest_first = sorted(self.rows.values(), key=lambda row: -row["number"])
        return [(row["id"], row["state"], row["text"]) for row in newest_first]
