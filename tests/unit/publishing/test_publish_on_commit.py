"""`publish_on_commit`: events are published after the commit, and on rollback never."""

import logging

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from pytest_django import Settings as DjangoSettings

from notifications import Invalid, publish_on_commit
from tests.harness.published import published_data, read_published_in_thread
from tests.unit.publishing.log_settings import use_redis

pytestmark = pytest.mark.usefixtures("own_log")


@pytest.mark.django_db(transaction=True)
def test_an_event_is_published_after_the_commit() -> None:
    with transaction.atomic():
        publish_on_commit("demo.a", "paid", type="note", id="mine")
        assert read_published_in_thread() == []
    (entry,) = read_published_in_thread()
    assert (entry.data, entry.type, entry.id) == (b"paid", b"note", b"mine")


@pytest.mark.django_db(transaction=True)
def test_on_rollback_nothing_is_published() -> None:
    with transaction.atomic():
        publish_on_commit("demo.a", "phantom")
        transaction.set_rollback(True)
    assert read_published_in_thread() == []


@pytest.mark.django_db(transaction=True)
def test_an_event_of_a_rolled_back_savepoint_is_not_published() -> None:
    with transaction.atomic():
        publish_on_commit("demo.a", "outer")
        with transaction.atomic():
            publish_on_commit("demo.a", "inner")
            transaction.set_rollback(True)
    assert published_data() == ["outer"]


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_transaction_an_event_is_published_at_once() -> None:
    publish_on_commit("demo.a", "now")
    assert published_data() == ["now"]


@pytest.mark.django_db(transaction=True)
def test_an_unavailable_log_does_not_fail_a_committed_transaction(
    settings: DjangoSettings, caplog: pytest.LogCaptureFixture
) -> None:
    use_redis(settings)
    with caplog.at_level(logging.ERROR):
        with transaction.atomic():
            User.objects.create_user("ada")
            publish_on_commit("demo.a", "x")
        publish_on_commit("demo.a", "x")
    assert User.objects.filter(username="ada").exists()
    assert caplog.text.count("Unavailable") >= 2


@pytest.mark.django_db(transaction=True)
def test_arguments_that_make_no_event_raise_before_the_commit() -> None:
    with pytest.raises(Invalid), transaction.atomic():
        publish_on_commit("demo.a", "x", type="open")
