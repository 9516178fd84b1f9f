"""Keep-alives that few share, in forms of which there may be many."""

from notifications.hub.chunks import MAX_ENCODERS, KeepAliveCache
from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.scheduling import STRIDE
from notifications.log.cursors import Cursor, position
from notifications.sse import Decoder
from notifications.transport.base import Payload
from notifications.websocket.protocol import MESSAGES
from tests.harness.fakes import EPOCH

HERE = Cursor(EPOCH, position(1))


def form_of_one() -> Encoder:
    """As a stream has that is told of its topics one by one: no other has the same."""
    return type(PLAIN)()


def test_some_who_are_at_the_same_place_share_one_and_not_all() -> None:
    pulses = KeepAliveCache()
    first = pulses.at(HERE, PLAIN)
    assert all(pulses.at(HERE, PLAIN) is first for _ in range(STRIDE - 1))
    assert pulses.at(HERE, PLAIN) is not first


def test_each_form_says_it_its_own_way_and_each_place_is_another() -> None:
    pulses = KeepAliveCache()
    there = Cursor(EPOCH, position(2))
    for cursor in HERE, there:
        assert pulses.at(cursor, MESSAGES).raw == MESSAGES.cursor(cursor)
        assert told(pulses.at(cursor, PLAIN)) == str(cursor)


def test_forms_that_come_and_go_are_not_kept() -> None:
    pulses = KeepAliveCache()
    for _ in range(5 * MAX_ENCODERS):
        assert told(pulses.at(HERE, form_of_one())) == str(HERE)
        assert len(pulses._last) <= MAX_ENCODERS


def told(payload: Payload) -> str:
    [event] = Decoder().feed(payload.raw)
    return event.id
