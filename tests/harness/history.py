"""Writes a long history into Redis within seconds, without publishing each event."""

from redis import Redis

from notifications.log.layout import with_constants
from notifications.log.script import Keys

CHUNK_EVENTS = 20_000
SCRIPT = with_constants("""
local stream, meta = KEYS[1], KEYS[2]
local last, size = unpack(redis.call('HMGET', meta, 'last', 'size'))
for i = ARGV[1], ARGV[2] do
  local data = '{"row":' .. i .. '}'
  last = redis.call('XADD', stream, '*', FIELD_KIND, 'event', FIELD_PREV, last, FIELD_AT, size,
    FIELD_TOPICS, ARGV[3], FIELD_ID, 'urn:row:' .. i, FIELD_TYPE, '', FIELD_DATA, data,
    FIELD_FORM, 'json', FIELD_RETRY, '')
  size = size + #data
end
redis.call('HSET', meta, 'last', last, 'size', size)
""")


def fill(client: Redis, topic: str, count: int, *, prefix: str = "carillon") -> None:
    """Add events numbered from 1, in the form that the log's own script gives them.

    The log must already have an epoch.
    """
    keys = Keys(prefix)
    script = client.register_script(SCRIPT)
    for first in range(1, count + 1, CHUNK_EVENTS):
        last = min(first + CHUNK_EVENTS - 1, count)
        script(keys=[keys.stream, keys.meta], args=[first, last, topic])
