"""Sealed text: what is sealed here is read here, and by nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings as DjangoSettings

from notifications.access.identities.sealing import seal, unseal


@given(st.text())
def test_what_is_sealed_is_read_again(text: str) -> None:
    assert unseal(seal(text)) == text


def test_nothing_of_the_text_is_visible_and_each_seal_is_another() -> None:
    key = "k" * 32
    sealed = [seal(key) for _ in range(2)]
    assert sealed[0] != sealed[1]
    assert all("kkk" not in each for each in sealed)


@pytest.mark.parametrize("text", ["", ".", "a", "é.", "AAAA.0", "====.", "A" * 100 + "."])
def test_what_nobody_sealed_is_not_read(text: str) -> None:
    assert unseal(text) is None


def test_a_changed_text_is_not_read() -> None:
    sealed = seal("key")
    for at in range(len(sealed)):
        other = "A" if sealed[at] != "A" else "B"
        assert unseal(sealed[:at] + other + sealed[at + 1 :]) is None


def test_a_process_with_the_next_secret_reads_it_while_the_old_one_is_a_fallback(
    settings: DjangoSettings,
) -> None:
    sealed = seal("key")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the next secret, which is long enough"
    assert unseal(sealed) == "key"
    settings.SECRET_KEY_FALLBACKS = []
    assert unseal(sealed) is None
