"""Writes a long history into Redis within seconds, without publishing each event."""

from redis import Redis

from notifications.log.script import Keys

CHUNK_EVENTS = 20_000
SCRIPT = """
local stream, meta = KEYS[1], KEYS[2]
local last, size, events, event = unpack(
  redis.call('HMGET', meta, 'last', 'size', 'events', 'event')
)
for i = ARGV[1], ARGV[2] do
  local data = '{"row":' .. i .. '}'
  local counts = string.format('%.0f %.0f ', size, events)
  local header = ARGV[3] .. '\\n' .. last .. ' event ' .. counts .. event
  local content = '\\nurn:row:' .. i .. '\\njson\\n\\n\\n\\n\\n\\n' .. data
  last = redis.call('XADD', stream, '*', header, content)
  size, events, event = size + #ARGV[3] + #content, events + 1, last
end
redis.call('HSET', meta, 'last', last, 'size', size, 'events', events, 'event', event)
"""


def fill(client: Redis, topic: str, count: int, *, prefix: str = "carillon") -> None:
    """Add events numbered from 1, in the form that the log's own script gives them.

    The log must already have an epoch.
    """
    keys = Keys(prefix)
    script = client.register_script(SCRIPT)
    for first in range(1, count + 1, CHUNK_EVENTS):
        last = min(first + CHUNK_EVENTS - 1, count)
        script(keys=[keys.stream, keys.meta], args=[first, last, topic])
