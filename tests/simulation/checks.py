"""The check of a world: what was acknowledged against what each subscriber was given.

It knows nothing of how the service works, only what it promises, and names what is broken as
Jepsen's reports do. Redis's own losses are known to it, because what no process that is left has
read or acknowledged, nobody can miss (docs/reliability.md).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from notifications.log.cursors import Cursor
from notifications.sse import ServerSentEvent
from tests.simulation.records import Published, Revocation
from tests.simulation.site import Site
from tests.simulation.streams import Browser

CALM_RECHECK_SECONDS, RECHECK_SECONDS = 1.0, 5.0
"""Within this time a stream ends after a permission, if the control entry orders a recheck, and if
also the entry is lost or the process cannot act: more than twice the age of a grant."""
DISTURBANCES = frozenset(
    (
        *("freeze", "database_away", "slow_network", "cut_off"),
        *("freeze_redis", "stop_redis", "refuse"),
    )
)
"""After each, a process may read only after a pause: of up to a second, where Redis was away."""
SILENT_SECONDS = 4.0
"""More than the longest pause between two keep-alives, and than that before a new stream."""


@dataclass(frozen=True, slots=True)
class Violation:
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def all_have_everything(site: Site) -> bool:
    """Whether nothing is under way any more, nor the reset for what Redis lost."""
    return not site.outbox.rows and not any(
        [*_not_arrived(site, browser, relevant), *_lost(site, browser, relevant)]
        for browser in site.browsers
        for relevant in [site.published_to(browser)]
    )


def violations(site: Site) -> list[Violation]:
    found = [*_faults(site), *_order_of_log(site), *_outbox(site)]
    for browser in site.browsers:
        relevant = site.published_to(browser)
        found += _broken_streams(browser)
        found += _lost(site, browser, relevant)
        found += _unexpected(site, browser, relevant)
        found += _stale(site, browser)
        found += _not_arrived(site, browser, relevant)
        found += _false_alarms(site, browser)
    return found


def _faults(site: Site) -> Iterator[Violation]:
    for fault in site.world.faults:
        yield Violation("fault", fault)


def _order_of_log(site: Site) -> Iterator[Violation]:
    """What was acknowledged before another publication began has the lower position."""
    acknowledged = [
        each for each in site.published if each.cursor and each.attempts == 1 and not each.by_outbox
    ]
    newest: dict[str, Published] = {}
    by_time = sorted(acknowledged, key=lambda each: each.acknowledged_at)
    index = 0
    for each in sorted(acknowledged, key=lambda each: each.began):
        while index < len(by_time) and by_time[index].acknowledged_at < each.began:
            before = by_time[index]
            assert before.cursor
            last = newest.get(before.cursor.epoch)
            if last is None or last.cursor.position < before.cursor.position:  # type: ignore[union-attr]
                newest[before.cursor.epoch] = before
            index += 1
        assert each.cursor
        last = newest.get(each.cursor.epoch)
        if last is not None and last.cursor.position >= each.cursor.position:  # type: ignore[union-attr]
            text = f"{each.name} at {each.cursor} began after {last.name} was at {last.cursor}"
            yield Violation("out of order", text)


def _outbox(site: Site) -> Iterator[Violation]:
    """What was committed is published, in the order of the rows."""
    waiting = {row.name for row in site.outbox.rows.values()}
    for row in site.outbox.rows.values():
        yield Violation("stuck", f"{row.name} waits in the outbox")
    last: dict[str, Published] = {}
    for each in site.outbox.published.values():
        if each.cursor is None and each.key not in waiting:
            yield Violation("lost", f"{each.name} is not in the outbox, and was not published")
        if each.cursor is not None:
            before = last.get(each.cursor.epoch, each)
            assert before.cursor
            if before.cursor.position > each.cursor.position:
                yield Violation("out of order", f"{each.name} is before {before.name}")
            last[each.cursor.epoch] = each


def _broken_streams(browser: Browser) -> Iterator[Violation]:
    for text in browser.observation.violations:
        yield Violation("out of order", f"{browser.name}: {text}")
    if browser.was_misused:
        yield Violation("fault", f"{browser.name}: its transport was written to while it was busy")


def _lost(site: Site, browser: Browser, relevant: list[Published]) -> Iterator[Violation]:
    """Acknowledged, and passed over without a reset.

    What Redis lost is passed over until a process that knew of it reaches Redis again: then comes a
    reset, and not at all later than at the end. Whoever may not come back has no end.
    """
    is_denied = browser.user in site.permissions.denied
    for each in relevant:
        if each.cursor is None or _nobody_can_miss(site, each):
            continue
        if is_denied and _is_lost(site, each.cursor):
            continue
        stretches = browser.observation.stretches
        for stretch in stretches[-1:] if _is_lost(site, each.cursor) else stretches:
            if (
                stretch.epoch == each.cursor.epoch
                and stretch.first < each.cursor.position <= stretch.last
                and stretch.events.get(each.cursor.position) != each.data
            ):
                text = f"{browser.name} passed {each.name} at {each.cursor}"
                yield Violation("lost", text)


def _nobody_can_miss(site: Site, publication: Published) -> bool:
    """Redis lost it, and the process that acknowledged it has ended, or takes it for trimmed."""
    at = publication.cursor
    is_unknown = publication.life not in site.lives or (at and at.position < site.floor)
    return bool(is_unknown) and _is_lost(site, at)


def _is_lost(site: Site, cursor: Cursor | None) -> bool:
    return any(cursor in loss.cursors for loss in site.losses)


def _unexpected(site: Site, browser: Browser, relevant: list[Published]) -> Iterator[Violation]:
    """Twice, never published, or elsewhere; but what Redis lost may be published again."""
    known = {each.data: each for each in relevant}
    first_at: dict[tuple[str, str], Cursor] = {}
    for stretch in browser.observation.stretches:
        for position, data in stretch.events.items():
            at = Cursor(stretch.epoch, position)
            first = first_at.setdefault((stretch.epoch, data), at)
            each = known.get(data)
            name = each.name if each else data[:40]
            if first != at:
                yield Violation("duplicate", f"{browser.name} got {name} at {first} and at {at}")
            elif each is None:
                yield Violation("phantom", f"{browser.name} got {name}, which is not for it")
            elif each.outcome == "not_sent":
                yield Violation("phantom", f"{browser.name} got {name}, which was refused")
            elif _is_elsewhere(each, at) and not _is_lost(site, at):
                text = f"{browser.name} got {name} at {at}, acknowledged at {each.cursor}"
                yield Violation("phantom", text)


def _is_elsewhere(publication: Published, at: Cursor) -> bool:
    acknowledged = publication.cursor
    return acknowledged is not None and acknowledged.epoch == at.epoch and acknowledged != at


def _stale(site: Site, browser: Browser) -> Iterator[Violation]:
    """Events of after the end of a permission."""
    is_calm = DISTURBANCES.isdisjoint(site.acts) and not site.losses
    limit = CALM_RECHECK_SECONDS if is_calm else RECHECK_SECONDS
    began = {each.data: each.began for each in site.published}
    for revocation in site.revocations:
        if revocation.user != browser.user or revocation.at is None:
            continue
        is_gone = _is_forgotten(site, revocation)
        for when, event in browser.received:
            if event.type.startswith("stream."):
                is_gone = is_gone or _skips(event, browser.floors, revocation)
                continue
            if _is_stale(event.id, began.get(event.data, 0) - limit, revocation, is_gone):
                text = f"{browser.name} got {event.id} at {when:.4f} s, revoked at {revocation.at}"
                yield Violation("stale", text)


def _is_forgotten(site: Site, revocation: Revocation) -> bool:
    """Whether Redis lost it, and the process that acknowledged it has ended: others ask in time."""
    return revocation.life not in site.lives and _is_lost(site, revocation.at)


def _skips(event: ServerSentEvent, floors: Mapping[str, int], revocation: Revocation) -> bool:
    """Whether retention removed the revocation before the process had read it: then it asks."""
    assert revocation.at
    cursor, at = Cursor.parse(event.id), revocation.at
    is_after = cursor.epoch == at.epoch and cursor.position > at.position
    return is_after and at.position < floors.get(event.id, 0)


def _is_stale(id: str, since: float, revocation: Revocation, is_gone: bool) -> bool:
    assert revocation.at
    assert revocation.acknowledged is not None
    if since > revocation.acknowledged:
        return True
    cursor = Cursor.parse(id)
    return (
        revocation.action == "end"
        and not is_gone
        and cursor.epoch == revocation.at.epoch
        and cursor.position > revocation.at.position
    )


def _not_arrived(site: Site, browser: Browser, relevant: list[Published]) -> Iterator[Violation]:
    """At the end, when nothing fails any more, everybody has everything, or knows of a reset."""
    if browser.user in site.permissions.denied:
        return
    stretches = browser.observation.stretches
    if not stretches or browser.received[-1][0] < site.world.now - SILENT_SECONDS:
        yield Violation("stuck", f"{browser.name} gets nothing")
        return
    last = stretches[-1]
    if last.epoch != site.epoch:
        yield Violation("stuck", f"{browser.name} is in {last.epoch}, the log in {site.epoch}")
        return
    for each in relevant:
        at = each.cursor
        is_ahead = at is not None and at.epoch == site.epoch and at.position > last.last
        if is_ahead and not _nobody_can_miss(site, each):
            yield Violation("stuck", f"{browser.name} did not get {each.name} at {at}")


def _false_alarms(site: Site, browser: Browser) -> Iterator[Violation]:
    """A reset that tells of a loss, without one."""
    if not site.losses:
        for reason in browser.observation.resets:
            if reason != "trimmed":
                yield Violation("false alarm", f"{browser.name} was reset: {reason}")


def kinds_of(found: Iterable[Violation]) -> list[str]:
    return sorted({violation.kind for violation in found})
