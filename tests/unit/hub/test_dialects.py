"""The same event of HTML, in the words of htmx, Turbo and Datastar."""

import pytest

from notifications.events import Swap, SwapMode
from notifications.hub.dialects import DIALECTS
from notifications.hub.encoders import ENVELOPED, PLAIN, Encoder
from notifications.hub.payloads import MAX_CHUNK_BYTES
from notifications.hub.subscribers import CloseReason, Start
from notifications.log.cursors import Cursor, make_position
from notifications.log.entries import ResetReason
from notifications.log.records import Entry
from notifications.sse import Decoder, ServerSentEvent
from tests.harness.fakes import EPOCH, FakeTransport, at, batch, entry, settle
from tests.unit.hub.test_hub import hub_with, join

HTMX, TURBO, DATASTAR = DIALECTS["htmx"], DIALECTS["turbo"], DIALECTS["datastar"]
ROW = "<li>a</li>"


def html(ms: int, data: str = ROW, swap: str = "append #list") -> Entry:
    marked = entry(ms)
    marked.data, marked.swap = data.encode(), swap.encode()
    return marked


def encoded(encoder: Encoder, event: Entry) -> ServerSentEvent:
    [block] = Decoder().feed(encoder.event(EPOCH, event, ()))
    return block


@pytest.mark.parametrize(
    ("mode", "htmx", "turbo"),
    [
        ("inner", f'<div hx-swap-oob="innerHTML:#list">{ROW}</div>', "update"),
        ("outer", '<li hx-swap-oob="outerHTML:#list">a</li>', "replace"),
        ("append", f'<div hx-swap-oob="beforeend:#list">{ROW}</div>', "append"),
        ("prepend", f'<div hx-swap-oob="afterbegin:#list">{ROW}</div>', "prepend"),
        ("before", f'<div hx-swap-oob="beforebegin:#list">{ROW}</div>', "before"),
        ("after", f'<div hx-swap-oob="afterend:#list">{ROW}</div>', "after"),
    ],
)
def test_each_dialect_has_a_word_for_each_swap(mode: str, htmx: str, turbo: str) -> None:
    event = html(1, swap=f"{mode} #list")
    assert encoded(HTMX, event) == ServerSentEvent(data=htmx, id=at(1))
    stream = f'<turbo-stream action="{turbo}" targets="#list"><template>{ROW}</template>'
    assert encoded(TURBO, event).data == f"{stream}</turbo-stream>"
    patch = encoded(DATASTAR, event)
    assert patch.type == "datastar-patch-elements"
    assert patch.data == f"selector #list\nmode {mode}\nelements {ROW}"


def test_a_removal_has_no_html() -> None:
    event = html(1, "", "remove .old")
    assert encoded(HTMX, event).data == '<div hx-swap-oob="delete:.old"></div>'
    stream = '<turbo-stream action="remove" targets=".old"></turbo-stream>'
    assert encoded(TURBO, event).data == stream
    assert encoded(DATASTAR, event).data == "selector .old\nmode remove"


def test_rows_of_a_table_come_in_an_element_that_may_have_rows() -> None:
    row = encoded(HTMX, html(1, "<TR><td>a</td></TR>")).data
    assert row == '<tbody hx-swap-oob="beforeend:#list"><TR><td>a</td></TR></tbody>'


def test_lines_stay_lines_in_each_dialect() -> None:
    text = "<pre>one\r\ntwo\rthree\nfour</pre>"
    lines = "<pre>one\ntwo\nthree\nfour</pre>"
    assert lines in encoded(HTMX, html(1, text)).data
    assert lines in encoded(TURBO, html(1, text)).data
    assert encoded(DATASTAR, html(1, text)).data.splitlines()[2:] == [
        "elements <pre>one",
        "elements two",
        "elements three",
        "elements four</pre>",
    ]


@pytest.mark.parametrize("name", DIALECTS)
def test_what_is_not_marked_never_reaches_a_page_as_html(name: str) -> None:
    markup = entry(1, data=b"<img src=x onerror=alert(1)>")
    assert DIALECTS[name].event(EPOCH, markup, ()) == b""
    markup.type = b"datastar-patch-elements"
    assert DIALECTS[name].event(EPOCH, markup, ()) == b""
    markup.swap = b"spin #list"  # by a later version
    assert DIALECTS[name].event(EPOCH, markup, ()) == b""


@pytest.mark.parametrize("name", DIALECTS)
def test_a_reset_has_the_page_fetch_its_state(name: str) -> None:
    blocks = DIALECTS[name].reset(Cursor(EPOCH, make_position(1)), ResetReason.TRIMMED)
    signal, html = Decoder().feed(blocks)
    assert (signal.type, signal.id) == ("stream.reset", at(1))
    assert '<carillon-reset reason="trimmed"></carillon-reset>' in html.data
    assert ".carillon-resets" in html.data


def test_other_streams_have_the_html_as_text_and_an_envelope_has_its_target() -> None:
    assert encoded(PLAIN, html(1)).data == ROW
    [envelope] = Decoder().feed(ENVELOPED.event(EPOCH, html(1), {"t"}))
    assert '"html":{"target":"#list","swap":"append"}' in envelope.data


async def test_a_stream_of_html_passes_over_other_events_and_resumes_after_them() -> None:
    hub = hub_with(1)
    _, live = join(hub, encoder=HTMX)
    await hub.deliver(batch(1, entry(2), html(3), entry(4)))
    await hub.deliver(batch(4, entry(5)))
    await hub.deliver(batch(5, html(6)))
    await settle()
    assert [event.id for event in live.events] == [at(1), at(3), at(6)]
    assert all(live.chunks), "an empty chunk would end a body"
    _, late = join(hub, encoder=HTMX, start=Start(cursor=at(3)))
    await settle()
    assert [event.id for event in late.events] == [at(3), at(6)]


async def test_a_slow_stream_of_html_gets_each_event_once() -> None:
    hub = hub_with(1)
    _, slow = join(hub, encoder=TURBO, held=True)
    large = "x" * (MAX_CHUNK_BYTES // 2)
    await hub.deliver(batch(1, html(2, large), entry(3), html(4, large), html(5)))
    for _ in range(6):
        slow.drain()
        await settle()
    assert [event.id for event in slow.events] == [at(1), at(2), at(4), at(5)]
    assert all(slow.chunks)


async def test_only_streams_of_datastar_are_broken_off() -> None:
    hub = hub_with(1)
    ended: dict[str, FakeTransport] = {}
    for name, encoder in DIALECTS.items():
        subscriber, ended[name] = join(hub, encoder=encoder)
        hub.close(subscriber, CloseReason.TOO_OLD)
    assert {name: transport.broken_off for name, transport in ended.items()} == {
        "htmx": False,
        "turbo": False,
        "datastar": True,
    }


def test_each_mode_is_known_to_each_dialect() -> None:
    for mode in SwapMode:
        swap = Swap("list", mode)
        assert Swap.parse(str(swap)) == swap == Swap("#list", str(mode))
        for encoder in DIALECTS.values():
            assert encoder.event(EPOCH, html(1, swap=str(swap)), ())
