"""The longest line of a stream, as docs/use.md gives it to readers of lines."""

import json

import pytest

from notifications.conf import Settings
from notifications.events import MAX_NAME_BYTES
from notifications.hub.encoders import ENVELOPED, PLAIN
from notifications.log.cursors import make_position
from notifications.log.records import Entry
from tests.harness.servers import ROOT

EPOCH = "0123456789ab"
POSITION = make_position(1_795_360_000_123, 4)
MAX_EVENT_BYTES = Settings.model_fields["MAX_EVENT_BYTES"].default
LONGEST = b"\x01" * MAX_EVENT_BYTES
"""JSON takes six bytes for each of these."""
RANDOM_ID = b"urn:uuid:" + b"0" * 36
DOCUMENTED = " ".join((ROOT / "docs" / "use.md").read_text().split())


def longest_line(block: bytes) -> int:
    """Bytes, with the LF at its end."""
    return max(map(len, block.splitlines(keepends=True)))


def test_the_longest_line_of_a_plain_stream_is_as_documented() -> None:
    entry = Entry(POSITION, ("news",), RANDOM_ID, None, LONGEST, True, None)
    length = longest_line(PLAIN.event(EPOCH, entry, entry.topics))
    assert length == MAX_EVENT_BYTES + 7 == 65_543
    assert f"`MAX_EVENT_BYTES` + 7 bytes, {length:,}" in DOCUMENTED


@pytest.mark.parametrize("type", [None, b"t" * MAX_NAME_BYTES])
def test_the_longest_line_with_an_envelope_is_as_documented(type: bytes | None) -> None:
    entry = Entry(POSITION, ("news",), RANDOM_ID, type, LONGEST, True, None)
    length = longest_line(ENVELOPED.event(EPOCH, entry, entry.topics))
    names = len(RANDOM_ID) + len(json.dumps(type.decode() if type else None))
    assert length == 6 * MAX_EVENT_BYTES + 85 + names + len('"news"')
    if type is None:
        assert f"{length:,}" in DOCUMENTED
