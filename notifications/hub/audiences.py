"""Audiences: which subscribers want the same bytes, and which ones a batch of events concerns."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import batched

from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.scheduling import STRIDE, TimeSlice
from notifications.hub.subscribers import Audience, Subscriber
from notifications.log.records import Entry, Record


@dataclass(slots=True, eq=False)
class Group:
    """The subscribers that get the same bytes of one batch, from one audience or from many.

    Audiences that differ only in topics without an event in this batch are in one group.
    """

    audience: Audience
    """One of the audiences: its encoder and topics determine the bytes."""
    entries: Sequence[Entry]
    members: list[Subscriber] = field(default_factory=list)


class Audiences:
    """All audiences of a process, indexed by topic."""

    def __init__(self, *, stride: int = STRIDE) -> None:
        self._stride = stride
        self._all: dict[tuple[frozenset[str], Encoder], Audience] = {}
        self._by_topic: dict[str, dict[Audience, None]] = {}

    def __iter__(self) -> Iterator[Audience]:
        return iter(self._all.values())

    def of(self, topics: frozenset[str], encoder: Encoder) -> Audience:
        """The audience for these topics and this encoder. A new one is empty: join it at once."""
        audience = self._all.get((topics, encoder))
        if audience is None:
            audience = self._all[topics, encoder] = Audience(topics, encoder)
            for topic in topics:
                self._by_topic.setdefault(topic, {})[audience] = None
        return audience

    def subscribed_to(self, topic: str) -> Iterable[Audience]:
        """The audiences that have this topic, perhaps among others."""
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

    async def concerned(
        self, records: Iterable[Record], time_slice: TimeSlice
    ) -> Collection[Group]:
        """The groups that these events are for; each subscriber is in one of them.

        A subscriber that joins meanwhile may be missing, and one that leaves may still be there.
        """
        by_topic = self._wanted(records)
        touched = frozenset(by_topic)
        groups: dict[object, Group] = {}
        for topic in by_topic:
            for audiences in batched(tuple(self.subscribed_to(topic)), self._stride):
                for audience in audiences:
                    topics = touched if len(touched) == 1 else audience.topics & touched
                    if len(topics) > 1 and topic != min(topics):
                        continue  # the loop meets this audience once for each of its topics
                    key = topics if audience.encoder is PLAIN else _key(audience, topics)
                    group = groups.get(key)
                    if group is None:
                        group = groups[key] = Group(audience, _merged(by_topic, topics))
                    group.members.extend(audience.members)
                if time_slice.expired:
                    await time_slice.pause()
        return groups.values()

    def _wanted(self, records: Iterable[Record]) -> dict[str, list[Entry]]:
        """The events by topic, without the topics that nobody subscribes to."""
        by_topic: dict[str, list[Entry]] = defaultdict(list)
        is_unknown = self._by_topic.keys().isdisjoint
        for record in records:
            if is_unknown(record[1]):
                continue
            entry = Entry.of(record)
            for topic in entry.topics:
                if topic in self._by_topic:
                    by_topic[topic].append(entry)
        return by_topic


def _key(audience: Audience, touched: frozenset[str]) -> object:
    """Equal for the audiences that get the same bytes of the `touched` topics."""
    encoder = audience.encoder
    return (encoder, touched, audience.topics if encoder.depends_on_topics else None)


def _merged(by_topic: dict[str, list[Entry]], topics: frozenset[str]) -> Sequence[Entry]:
    """The entries of these topics, in order, each once."""
    if len(topics) == 1:
        (topic,) = topics
        return by_topic[topic]
    unique = {entry.position: entry for topic in topics for entry in by_topic[topic]}
    return [unique[position] for position in sorted(unique)]
