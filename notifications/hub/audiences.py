"""Audiences: who wants what, and who of them is concerned by a batch of events."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched

from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.scheduling import STRIDE, TimeSlice
from notifications.hub.subscribers import Audience, Subscriber
from notifications.log.base import Entry


@dataclass(slots=True, eq=False)
class Group:
    """Those who get the same bytes of a batch: one audience or many, which share some topics."""

    audience: Audience
    """One of them, for what must be known to write the bytes."""
    entries: Sequence[Entry]
    members: list[Subscriber] = field(default_factory=list)


class Audiences:
    """All of a process, indexed by topic."""

    def __init__(self) -> None:
        self._all: dict[tuple[frozenset[str], Encoder], Audience] = {}
        self._by_topic: dict[str, dict[Audience, None]] = {}

    def __iter__(self) -> Iterator[Audience]:
        return iter(self._all.values())

    def of(self, topics: frozenset[str], encoder: Encoder) -> Audience:
        """The one that wants exactly this, made if need be: join it at once."""
        audience = self._all.get((topics, encoder))
        if audience is None:
            audience = self._all[topics, encoder] = Audience(topics, encoder)
            for topic in topics:
                self._by_topic.setdefault(topic, {})[audience] = None
        return audience

    def hearing(self, topic: str) -> Iterable[Audience]:
        """Those who want this topic, among others."""
        return self._by_topic.get(topic, ())

    def leave(self, subscriber: Subscriber) -> None:
        audience = subscriber.audience
        del audience.members[subscriber]
        if not audience.members:
            del self._all[audience.topics, audience.encoder]
            for topic in audience.topics:
                del self._by_topic[topic][audience]
                if not self._by_topic[topic]:
                    del self._by_topic[topic]

    async def concerned(self, entries: Iterable[Entry], time_slice: TimeSlice) -> Iterable[Group]:
        """The groups that entries are for; each member is in one of them.

        Whoever joins meanwhile may be missing, and whoever leaves may still be there.
        """
        by_topic = self._wanted(entries)
        touched = frozenset(by_topic)
        groups: dict[object, Group] = {}
        for topic in by_topic:
            for some in batched(tuple(self.hearing(topic)), STRIDE):
                for audience in some:
                    topics = touched if len(touched) == 1 else audience.topics & touched
                    if len(topics) > 1 and topic != min(topics):
                        continue  # it is come across once for each of its topics
                    key = topics if audience.encoder is PLAIN else _key(audience, topics)
                    group = groups.get(key)
                    if group is None:
                        group = groups[key] = Group(audience, _joined(by_topic, topics))
                    group.members.extend(audience.members)
                if time_slice.due:
                    await time_slice.take()
        return groups.values()

    def _wanted(self, entries: Iterable[Entry]) -> dict[str, list[Entry]]:
        """The entries by those of their topics that anybody wants."""
        by_topic: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            for topic in entry.topics:
                if topic in self._by_topic:
                    by_topic[topic].append(entry)
        return by_topic


def _key(audience: Audience, touched: frozenset[str]) -> object:
    """What those have in common who get the same bytes of these topics."""
    encoder = audience.encoder
    return (encoder, touched, audience.topics if encoder.names_topics else None)


def _joined(by_topic: dict[str, list[Entry]], topics: frozenset[str]) -> Sequence[Entry]:
    """The entries of these topics, in order, each once."""
    if len(topics) == 1:
        (topic,) = topics
        return by_topic[topic]
    unique = {entry.position: entry for topic in topics for entry in by_topic[topic]}
    return [unique[position] for position in sorted(unique)]
