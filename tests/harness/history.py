"""A long history in Redis, in seconds."""

from redis import Redis

from notifications.log.script import Keys

PIECE = 20_000
SCRIPT = """
local stream, meta = KEYS[1], KEYS[2]
local last, size = unpack(redis.call('HMGET', meta, 'last', 'size'))
for i = ARGV[1], ARGV[2] do
  local data = '{"row":' .. i .. '}'
  last = redis.call('XADD', stream, '*', 'kind', 'event', 'prev', last, 'at', size,
    'topics', ARGV[3], 'id', 'urn:row:' .. i, 'type', '', 'data', data, 'form', 'json', 'retry', '')
  size = size + #data
end
redis.call('HSET', meta, 'last', last, 'size', size)
"""


def fill(client: "Redis", topic: str, count: int, *, prefix: str = "carillon") -> None:
    """Events numbered from 1, as the log's own script adds them. The log must have begun."""
    keys = Keys(prefix)
    script = client.register_script(SCRIPT)
    for first in range(1, count + 1, PIECE):
        last = min(first + PIECE - 1, count)
        script(keys=[keys.stream, keys.meta], args=[first, last, topic])
