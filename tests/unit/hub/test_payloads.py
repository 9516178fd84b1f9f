"""Keep-alives that a few subscribers share, for encoders of which there may be many."""

from notifications.hub.encoders import PLAIN, Encoder
from notifications.hub.payloads import MAX_CACHED_ENCODERS, KeepAliveCache
from notifications.hub.scheduling import STRIDE
from notifications.log.cursors import Cursor, make_position
from notifications.sse import Decoder
from notifications.transport.base import Payload
from notifications.websocket.protocol import MESSAGE_ENCODER
from tests.harness.fakes import EPOCH

POSITION = make_position(1)


def new_encoder() -> Encoder:
    """Like the encoder of a stream of the django-eventstream kind: no other stream has the same."""
    return type(PLAIN)()


def test_some_subscribers_at_the_same_position_share_one_but_not_all() -> None:
    cache = KeepAliveCache()
    first = cache.at(EPOCH, POSITION, PLAIN)
    assert all(cache.at(EPOCH, POSITION, PLAIN) is first for _ in range(STRIDE - 1))
    assert cache.at(EPOCH, POSITION, PLAIN) is not first


def test_each_encoder_and_each_position_has_its_own() -> None:
    cache = KeepAliveCache()
    for position in POSITION, make_position(2):
        cursor = Cursor(EPOCH, position)
        assert cache.at(EPOCH, position, MESSAGE_ENCODER).raw == MESSAGE_ENCODER.cursor(cursor)
        assert cursor_in(cache.at(EPOCH, position, PLAIN)) == str(cursor)


def test_the_cache_does_not_grow_with_encoders_that_come_and_go() -> None:
    cache = KeepAliveCache()
    for _ in range(5 * MAX_CACHED_ENCODERS):
        assert cursor_in(cache.at(EPOCH, POSITION, new_encoder())) == str(Cursor(EPOCH, POSITION))
        assert len(cache._latest) <= MAX_CACHED_ENCODERS


def cursor_in(payload: Payload) -> str:
    [event] = Decoder().feed(payload.raw)
    return event.id
