"""The wire format, checked by the standard's examples and by a third-party parser."""

from collections.abc import Iterator
from random import Random

import pytest
from httpx_sse._decoders import SSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from notifications.sse import Decoder, ServerSentEvent, encode

LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1)
DATA = st.text(st.characters(exclude_categories=["Cs"]))


def lines_of(data: str) -> str:
    """The data as a client reads it: every kind of line end has become LF."""
    return data.replace("\r\n", "\n").replace("\r", "\n")


def decoded(stream: bytes) -> list[ServerSentEvent]:
    return Decoder().feed(stream)


@given(DATA, LINE, st.none() | LINE, st.none() | st.integers(0, 10**9))
def test_our_decoder_reads_what_was_encoded(
    data: str, id: str, type: str | None, retry: int | None
) -> None:
    encoded = encode(
        data.encode(), id=id.encode(), type=type.encode() if type else None, retry=retry
    )
    assert decoded(encoded) == [
        ServerSentEvent(data=lines_of(data), id=id, type=type or "message", retry=retry)
    ]


@given(DATA, LINE, st.none() | LINE, st.none() | st.integers(0, 10**9))
def test_httpx_sse_reads_what_was_encoded(
    data: str, id: str, type: str | None, retry: int | None
) -> None:
    encoded = encode(
        data.encode(), id=id.encode(), type=type.encode() if type else None, retry=retry
    )
    decoder = SSEDecoder()
    events = [decoder.decode(line) for line in encoded.decode().split("\n")[:-1]]
    [event] = [event for event in events if event is not None]
    assert (event.data, event.id, event.event, event.retry) == (
        lines_of(data),
        id,
        type or "message",
        retry,
    )


@given(st.lists(DATA, max_size=5), st.randoms())
def test_a_stream_may_arrive_in_any_pieces(texts: list[str], random: Random) -> None:
    stream = b"".join(encode(text.encode(), id=b"%d" % i) for i, text in enumerate(texts))
    decoder = Decoder()
    events = [event for piece in pieces(stream, random) for event in decoder.feed(piece)]
    assert [event.data for event in events] == [lines_of(text) for text in texts]
    assert [event.id for event in events] == [str(i) for i in range(len(texts))]


def pieces(stream: bytes, random: Random) -> Iterator[bytes]:
    while stream:
        cut = random.randint(1, len(stream))
        yield stream[:cut]
        stream = stream[cut:]


# WHATWG HTML §9.2.6, the examples, in order.


def test_whatwg_example_of_two_lines_of_data() -> None:
    assert decoded(b"data: YHOO\ndata: +2\ndata: 10\n\n")[0].data == "YHOO\n+2\n10"


def test_whatwg_example_of_comments_ids_and_leading_spaces() -> None:
    stream = (
        b": test stream\n\n"
        b"data: first event\nid: 1\n\n"
        b"data:second event\nid\n\n"
        b"data:  third event\n\n"
    )
    assert decoded(stream) == [
        ServerSentEvent(data="first event", id="1"),
        ServerSentEvent(data="second event", id=""),
        ServerSentEvent(data=" third event", id=""),
    ]


def test_whatwg_example_of_empty_data_and_an_unfinished_block() -> None:
    assert [event.data for event in decoded(b"data\n\ndata\ndata\n\ndata:")] == ["", "\n"]


def test_whatwg_example_of_a_space_that_does_not_count() -> None:
    assert [event.data for event in decoded(b"data:test\n\ndata: test\n\n")] == ["test", "test"]


def test_a_byte_order_mark_at_the_start_is_ignored() -> None:
    assert decoded(b"\xef\xbb\xbfdata: x\n\n")[0].data == "x"


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_of_the_standard_ends_a_line(end: bytes) -> None:
    decoder = Decoder()
    events = decoder.feed(end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""]))
    # A CR at the end may be half of a CRLF: the next byte decides.
    events += decoder.feed(b":\n")
    assert [event.data for event in events] == ["a\nb", "c"]


def test_an_id_with_nul_and_a_retry_that_is_no_number_are_ignored() -> None:
    [event] = decoded(b"id: 1\nid: a\0b\nretry: 5s\ndata: x\n\n")
    assert (event.id, event.retry) == ("1", None)


def test_a_type_does_not_outlive_its_block() -> None:
    first, second = decoded(b"event: a\ndata: 1\n\ndata: 2\n\n")
    assert (first.type, second.type) == ("a", "message")
