"""Continuation: what is remembered is believed only unchanged, in time, and never renewed."""

import json
import time
from dataclasses import replace

import pytest
from pytest_django import Settings as DjangoSettings

from notifications.access.continuation import continued, ended_stream, name_of
from notifications.access.identities.base import Identity, Kind
from notifications.access.identities.session_life import SAVED_KEY, SessionLife, life_of
from notifications.hub.ended import Found
from notifications.hub.grants import Grant
from notifications.log.cursors import Cursor, make_position
from notifications.log.ended import EndedStream, Recalled

KEEP_SECONDS = 60.0
KEY = "k" * 32
NAME = name_of(KEY, "", ("user.5",))
AS_OF = Cursor("0123456789ab", make_position(1_000))


def identity(*, ends_in: float = 3600) -> Identity:
    subjects = ("user:5", "session:abc")
    life = SessionLife(time.time() + ends_in, "digest")
    return Identity(kind=Kind.SESSION, name="user:5", subjects=subjects, life=life)


def grant(**more: object) -> Grant:
    fields = {"topics": ("user.5",), "subjects": ("user:5", "session:abc"), "as_of": AS_OF}
    return Grant(**{**fields, **more})  # type: ignore[arg-type]


def remembered(*, age: float = 0, ends_in: float = 3600, **more: object) -> EndedStream:
    stream = ended_stream(NAME, identity(ends_in=ends_in), grant(**more), age=age)
    assert stream is not None
    return stream


def back(stream: EndedStream, *, after: float = 0.0, at: float = 5_000.0) -> Grant | None:
    """The grant of a browser that is back `after` so many seconds; `at`: its process's clock."""
    found = Found(Recalled(stream, KEEP_SECONDS - after), at)
    held = continued(found, KEY, "")
    return held and held[1]


def test_it_has_what_it_had_and_names_whom_a_control_entry_may_name() -> None:
    until = time.time() + 100
    stream = remembered(since={"user.5": 7}, until=until)
    assert stream.subjects == ("user:5", "session:abc", "topic:user.5", "*")
    found = back(stream, after=1)
    assert found is not None
    assert (found.topics, found.subjects, found.since) == (
        *(("user.5",), ("user:5", "session:abc")),
        {"user.5": 7},
    )
    assert (found.until, found.as_of, found.denied) == (until, AS_OF, ())


def test_the_time_of_confirmation_is_carried_over_through_any_number_of_interruptions() -> None:
    confirmed, now = 1_000.0, 1_100.0
    for _ in range(9):
        stream = remembered(age=now - confirmed)
        now += 50
        found = back(stream, after=50, at=now)
        assert found is not None
        assert found.confirmed == pytest.approx(confirmed)
        now += 3
    assert back(remembered(age=now - confirmed), after=59) is None  # older than `GRANT_MAX_AGE`


def test_it_never_lasts_beyond_the_session_or_the_permission() -> None:
    found = back(remembered(ends_in=50, until=time.time() + 100))
    assert found is not None
    assert found.until is not None
    assert found.until <= time.time() + 50
    assert back(remembered(ends_in=-1)) is None
    assert back(remembered(until=time.time() - 1)) is None


@pytest.mark.parametrize("left", [-1.0, 0.0, KEEP_SECONDS + 1])
def test_a_time_to_live_that_somebody_has_changed_is_not_believed(left: float) -> None:
    """Redis answers -1 for a key without an expiry."""
    assert continued(Found(Recalled(remembered(), left), 0.0), KEY, "") is None


def test_whatever_is_changed_is_not_believed(settings: DjangoSettings) -> None:
    stream = remembered()
    signature, _, body = stream.body.partition(".")
    later = Cursor(AS_OF.epoch, make_position(2_000))
    longer = json.dumps({**json.loads(body), "until": time.time() + 10**6})
    for changed in (
        replace(stream, name="0" * len(NAME)),
        replace(stream, as_of=later),
        replace(stream, as_of=Cursor("ba9876543210", AS_OF.position)),
        replace(stream, subjects=stream.subjects[1:]),
        replace(stream, body=f"{signature}.{longer}"),
        replace(stream, body=body),
        replace(stream, body=""),
    ):
        assert back(changed) is None, changed
    assert back(stream) is not None
    settings.SECRET_KEY = "another key, which signs nothing of what the first has signed"
    assert back(stream) is None


def test_a_grant_with_denied_topics_or_no_position_or_no_known_end_is_not_remembered() -> None:
    unknown = replace(identity(), life=None)
    assert ended_stream(NAME, unknown, grant(), age=0) is None
    assert ended_stream(NAME, identity(), grant(denied=("a",)), age=0) is None
    assert ended_stream(NAME, identity(), grant(as_of=None), age=0) is None


def test_each_session_tenant_and_choice_of_topics_and_other_rules_have_a_name_of_their_own(
    settings: DjangoSettings,
) -> None:
    names = [
        name_of(key, namespace, topics)
        for key in (KEY, "other" * 7)
        for namespace in ("", "acme")
        for topics in ((), ("user.5",), ("user.5", "a"))
    ]
    settings.CARILLON = {**settings.CARILLON, "ACCESS": "tests.end_to_end.rules.RULES"}
    names.append(name_of(KEY, "", ("user.5",)))
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("expiry", "seconds"), [(None, 1_209_600), (300, 300)])
def test_the_end_of_a_session_follows_from_its_last_save(expiry: int | None, seconds: int) -> None:
    data = {SAVED_KEY: 1_000, **({} if expiry is None else {"_session_expiry": expiry})}
    life = life_of(data)
    assert life is not None
    assert life.ends == 1_000 + seconds
    assert life_of({}) is None
