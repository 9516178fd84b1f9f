"""The application, as Django loads it: once, or again where INSTALLED_APPS changes in a test."""

import gc
from weakref import ReferenceType

from django.contrib.auth.signals import user_logged_in
from django.core.signals import request_started
from django.db.models.signals import post_delete, post_save
from django.dispatch import Signal
from pytest_django import Settings as DjangoSettings

from notifications.hub import past_controls, runtime

SIGNALS = (user_logged_in, request_started, post_save, post_delete)


def living(signal: Signal) -> int:
    """How many receivers a signal has, without those of other tests, which are gone."""
    receivers = [receiver for _, receiver, *_ in signal.receivers]
    return sum(not isinstance(each, ReferenceType) or each() is not None for each in receivers)


def connected() -> list[int]:
    """How many functions are called for each thing that may happen."""
    gc.collect()
    return [
        len(runtime.services),
        len(runtime.control_observers),
        len(past_controls.observers),
        *map(living, SIGNALS),
    ]


def test_nothing_is_called_twice_after_the_applications_were_loaded_again(
    settings: DjangoSettings,
) -> None:
    before = connected()
    assert all(before)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS]
    assert connected() == before
