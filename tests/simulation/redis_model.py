"""A small model of Redis: the commands that the log uses, with our real scripts run by Lua 5.1.

`test_redis_model.py` runs random commands on the model, on a Redis and on a Valkey, and compares.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from lupa import lua51

type StreamId = tuple[int, int]
type Reply = Any
"""None, an int, bytes, a list of replies, `Ok` or `Failure`."""

MAX_ID = (2**64 - 1, 2**64 - 1)
OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'."
READ_ONLY = "READONLY You can't write against a read only replica."
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
_WRITES = frozenset(
    (
        *("DEL", "EXPIRE", "FLUSHALL", "HSET", "HSETNX", "LPOP", "PERSIST", "RPUSH", "SET"),
        *("XADD", "XDEL", "XTRIM", "ZADD", "ZREMRANGEBYSCORE"),
    )
)
_TAKES_MEMORY = frozenset(("HSET", "HSETNX", "RPUSH", "SET", "XADD", "ZADD"))


class Failure(Exception):
    """An error that Redis replies."""

    @property
    def text(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Ok:
    """A status that Redis replies."""

    text: str = "OK"


@dataclass(frozen=True, slots=True)
class Encoded:
    """A reply, or a part of one, as it goes to the client."""

    data: bytes


@dataclass(slots=True)
class Stream:
    entries: list[tuple[StreamId, tuple[bytes, ...]]] = field(default_factory=list)
    last: StreamId = (0, 0)

    def copy(self) -> "Stream":
        return Stream(self.entries.copy(), self.last)


class ZSet(dict[bytes, float]):
    """Members and their scores."""

    def copy(self) -> "ZSet":
        return ZSet(self)

    def ordered(self) -> list[tuple[float, bytes]]:
        return sorted((score, member) for member, score in self.items())


type Value = bytes | dict[bytes, bytes] | list[bytes] | Stream | ZSet


@dataclass(slots=True)
class Data:
    values: dict[bytes, Value] = field(default_factory=dict)
    expiries: dict[bytes, int] = field(default_factory=dict)
    """In ms."""

    def copy(self) -> "Data":
        values = {
            key: value if isinstance(value, bytes) else value.copy()
            for key, value in self.values.items()
        }
        return Data(values, self.expiries.copy())


def parse_id(text: bytes, *, missing: int = 0) -> StreamId:
    ms, dash, n = text.partition(b"-")
    return int(ms), int(n) if dash else missing


def format_id(id: StreamId) -> bytes:
    return b"%d-%d" % id


class RedisModel:
    """`clock_ms`: the clock of this Redis. `refusal`: the error that each write gets, if any."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self.data = Data()
        self.refusal: str | None = None
        self.changes = 0
        self.scripts: dict[bytes, bytes] = {}
        self._clock_ms = clock_ms
        self._now_ms = 0
        self._script_wrote: bool | None = None

    def execute(self, command: Sequence[bytes]) -> Reply:
        """The reply to one command. Raises `Failure`."""
        self._now_ms = self._clock_ms()
        name = command[0].decode().upper()
        if name == "EVALSHA":
            if command[1] not in self.scripts:
                raise Failure("NOSCRIPT No matching script. Please use EVAL.")
            return self._evaluate(self.scripts[command[1]], command[2:])
        if name == "EVAL":
            self.scripts[hashlib.sha1(command[1]).hexdigest().encode()] = command[1]
            return self._evaluate(command[1], command[2:])
        return self.call(name, command[1:])

    def call(self, name: str, arguments: Sequence[bytes]) -> Reply:
        method = getattr(self, f"_{name.lower()}", None)
        if method is None:
            raise Failure(f"ERR unknown command '{name}'")
        if name in _WRITES:
            self._refuse(name)
        reply = method(*arguments)
        if name in _WRITES:
            self.changes += 1
        return reply

    def _refuse(self, name: str) -> None:
        if self.refusal == OUT_OF_MEMORY:
            # A script that has written may go on.
            if name in _TAKES_MEMORY and not self._script_wrote:
                raise Failure(OUT_OF_MEMORY)
        elif self.refusal is not None:
            raise Failure(self.refusal)
        if self._script_wrote is not None:
            self._script_wrote = True

    def _evaluate(self, script: bytes, arguments: Sequence[bytes]) -> Reply:
        count = int(arguments[0])
        self._script_wrote = False
        try:
            return LUA.run(self, script, arguments[1 : count + 1], arguments[count + 1 :])
        finally:
            self._script_wrote = None

    # Keys

    def _get_value[T](self, key: bytes, kind: type[T]) -> T | None:
        expiry = self.data.expiries.get(key)
        if expiry is not None and expiry <= self._now_ms:
            self._remove(key)
        value = self.data.values.get(key)
        if value is not None and not isinstance(value, kind):
            raise Failure(WRONG_TYPE)
        # A sorted set is a dict too.
        if value is not None and kind is dict and isinstance(value, ZSet):
            raise Failure(WRONG_TYPE)
        return value

    def _make_value[T](self, key: bytes, kind: type[T]) -> T:
        value = self._get_value(key, kind)
        if value is None:
            value = kind()
            self.data.values[key] = value  # type: ignore[assignment]
        return value

    def _remove(self, key: bytes) -> bool:
        self.data.expiries.pop(key, None)
        return self.data.values.pop(key, None) is not None

    def _flushall(self) -> Reply:
        self.data = Data()
        return Ok()

    def _exists(self, *keys: bytes) -> Reply:
        return sum(self._get_value(key, object) is not None for key in keys)

    def _del(self, *keys: bytes) -> Reply:
        return sum(self._exists(key) and self._remove(key) for key in keys)

    def _persist(self, key: bytes) -> Reply:
        return int(bool(self._exists(key)) and self.data.expiries.pop(key, None) is not None)

    def _expire(self, key: bytes, seconds: bytes) -> Reply:
        if not self._exists(key):
            return 0
        self.data.expiries[key] = self._now_ms + int(seconds) * 1000
        return 1

    def _pttl(self, key: bytes) -> Reply:
        if not self._exists(key):
            return -2
        expiry = self.data.expiries.get(key)
        return -1 if expiry is None else expiry - self._now_ms

    def _ttl(self, key: bytes) -> Reply:
        left = self._pttl(key)
        return left if left < 0 else (left + 500) // 1000

    def _time(self) -> Reply:
        seconds, ms = divmod(self._now_ms, 1000)
        return [b"%d" % seconds, b"%d" % (ms * 1000)]

    def _ping(self) -> Reply:
        return Ok("PONG")

    def _info(self, *_: bytes) -> Reply:
        return b"# Memory\r\nmaxmemory_policy:noeviction\r\n"

    def _client(self, *_: bytes) -> Reply:
        return Ok()

    # Strings

    def _get(self, key: bytes) -> Reply:
        return self._get_value(key, bytes)

    def _set(self, key: bytes, value: bytes, *expiry: bytes) -> Reply:
        self.data.values[key] = value
        self.data.expiries.pop(key, None)
        if expiry:
            unit = 1000 if expiry[0].upper() == b"EX" else 1
            self.data.expiries[key] = self._now_ms + int(expiry[1]) * unit
        return Ok()

    # Hashes

    def _hmget(self, key: bytes, *names: bytes) -> Reply:
        value = self._get_value(key, dict) or {}
        return [value.get(name) for name in names]

    def _hset(self, key: bytes, *pairs: bytes) -> Reply:
        value = self._make_value(key, dict)
        before = len(value)
        value.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(value) - before

    def _hsetnx(self, key: bytes, name: bytes, content: bytes) -> Reply:
        value = self._make_value(key, dict)
        if name in value:
            return 0
        value[name] = content
        return 1

    # Lists

    def _rpush(self, key: bytes, *items: bytes) -> Reply:
        value = self._make_value(key, list)
        value += items
        return len(value)

    def _lpop(self, key: bytes) -> Reply:
        value = self._get_value(key, list)
        if not value:
            return None
        first = value.pop(0)
        if not value:
            self._remove(key)
        return first

    def _llen(self, key: bytes) -> Reply:
        return len(self._get_value(key, list) or [])

    def _lindex(self, key: bytes, index: bytes) -> Reply:
        value = self._get_value(key, list) or []
        try:
            return value[int(index)]
        except IndexError:
            return None

    # Sorted sets

    def _zadd(self, key: bytes, *pairs: bytes) -> Reply:
        value = self._make_value(key, ZSet)
        before = len(value)
        value.update(
            {member: float(score) for score, member in zip(pairs[::2], pairs[1::2], strict=True)}
        )
        return len(value) - before

    def _zcard(self, key: bytes) -> Reply:
        return len(self._get_value(key, ZSet) or ())

    def _zscore(self, key: bytes, member: bytes) -> Reply:
        score = (self._get_value(key, ZSet) or ZSet()).get(member)
        return None if score is None else _number(score)

    def _zrange(self, key: bytes, first: bytes, last: bytes, *_: bytes) -> Reply:
        """Always with scores, and with indexes that are not negative."""
        ordered = (self._get_value(key, ZSet) or ZSet()).ordered()
        return _with_scores(ordered[int(first) : int(last) + 1])

    def _zrevrangebyscore(self, key: bytes, most: bytes, least: bytes, *_: bytes) -> Reply:
        """Always with scores, and `LIMIT 0 1`."""
        ordered = (self._get_value(key, ZSet) or ZSet()).ordered()
        found = [pair for pair in ordered if float(least) <= pair[0] <= float(most)]
        return _with_scores(found[-1:])

    def _zremrangebyscore(self, key: bytes, least: bytes, most: bytes) -> Reply:
        value = self._get_value(key, ZSet) or ZSet()
        gone = [name for name, score in value.items() if float(least) <= score <= float(most)]
        for name in gone:
            del value[name]
        if gone and not value:
            self._remove(key)
        return len(gone)

    # Streams

    def _xadd(self, key: bytes, id: bytes, *pairs: bytes) -> Reply:
        del id  # always *
        stream = self._make_value(key, Stream)
        ms, n = stream.last
        stream.last = (self._now_ms, 0) if self._now_ms > ms else (ms, n + 1)
        stream.entries.append((stream.last, pairs))
        return format_id(stream.last)

    def _xlen(self, key: bytes) -> Reply:
        stream = self._get_value(key, Stream)
        return len(stream.entries) if stream else 0

    def _xdel(self, key: bytes, *ids: bytes) -> Reply:
        stream = self._get_value(key, Stream)
        if stream is None:
            return 0
        unwanted = {parse_id(id) for id in ids}
        before = len(stream.entries)
        stream.entries = [entry for entry in stream.entries if entry[0] not in unwanted]
        return before - len(stream.entries)

    def _xtrim(self, key: bytes, by: bytes, exactly: bytes, limit: bytes) -> Reply:
        del exactly
        stream = self._get_value(key, Stream)
        if stream is None:
            return 0
        if by.upper() == b"MAXLEN":
            surplus = max(0, len(stream.entries) - int(limit))
        else:
            surplus = bisect_left(stream.entries, parse_id(limit), key=_id_of)
        del stream.entries[:surplus]
        return surplus

    def _xrange(self, key: bytes, first: bytes, last: bytes, *count: bytes) -> Reply:
        found = self._between(key, first, last)
        return [_entry(each) for each in (found[: int(count[1])] if count else found)]

    def _xrevrange(self, key: bytes, last: bytes, first: bytes, *count: bytes) -> Reply:
        found = self._between(key, first, last)[::-1]
        return [_entry(each) for each in (found[: int(count[1])] if count else found)]

    def _between(self, key: bytes, first: bytes, last: bytes) -> list[Any]:
        if last in (b"(0-0", b"(0"):
            raise Failure("ERR invalid end ID for the interval")
        stream = self._get_value(key, Stream)
        if stream is None:
            return []
        entries, low, high = stream.entries, 0, len(stream.entries)
        if first.startswith(b"("):
            low = bisect_right(entries, parse_id(first[1:]), key=_id_of)
        elif first != b"-":
            low = bisect_left(entries, parse_id(first), key=_id_of)
        if last.startswith(b"("):
            high = bisect_left(entries, parse_id(last[1:], missing=MAX_ID[1]), key=_id_of)
        elif last != b"+":
            high = bisect_right(entries, parse_id(last, missing=MAX_ID[1]), key=_id_of)
        return entries[low:high]

    def _xread(self, *arguments: bytes) -> Reply:
        """None, if there is nothing; the server has it wait."""
        *_, key, after = arguments
        found = self._between(key, b"(" + after, b"+")[: int(arguments[1])]
        return [[key, [Encoded(_encoded(each)) for each in found]]] if found else None


def _id_of(entry: tuple[StreamId, object]) -> StreamId:
    return entry[0]


def _entry(entry: tuple[StreamId, tuple[bytes, ...]]) -> list[Any]:
    return [format_id(entry[0]), list(entry[1])]


@lru_cache(maxsize=1000)
def _encoded(entry: tuple[StreamId, tuple[bytes, ...]]) -> bytes:
    """Every process reads every entry, and most of the time of a world would go there."""
    return encode(_entry(entry))


def encode(reply: Reply) -> bytes:
    """A reply in Redis' protocol (RESP 2)."""
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, list):
        return b"*%d\r\n%b" % (len(reply), b"".join(map(encode, reply)))
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, Encoded):
        return reply.data
    if isinstance(reply, Ok):
        return b"+%b\r\n" % reply.text.encode()
    assert isinstance(reply, Failure)
    return b"-%b\r\n" % reply.text.encode()


def _number(number: float) -> bytes:
    return b"%d" % number if number == int(number) else b"%.17g" % number


def _with_scores(pairs: Sequence[tuple[float, bytes]]) -> list[bytes]:
    return [part for score, member in pairs for part in (member, _number(score))]


class _Lua:
    """Runs scripts for one model at a time, and keeps what it has compiled."""

    def __init__(self) -> None:
        self._lua: Any = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._compiled: dict[bytes, Any] = {}
        self._model: RedisModel | None = None
        globals_ = self._lua.globals()
        globals_[b"redis_call"] = self._call
        self._lua.execute(
            b"""
            local call = redis_call
            redis_call = nil
            redis = {}
            function redis.call(...)
                local done, reply = call(...)
                if done then return reply end
                error({err = reply})
            end
            function redis.pcall(...)
                local done, reply = call(...)
                if done then return reply end
                return {err = reply}
            end
            function redis.acl_check_cmd() return true end
            function attempt(script)
                local done, reply = pcall(script)
                if done or type(reply) == 'table' then return reply end
                return {err = 'ERR ' .. tostring(reply)}
            end
            """
        )

    def run(
        self, model: RedisModel, script: bytes, keys: Sequence[bytes], arguments: Sequence[bytes]
    ) -> Reply:
        compiled = self._compiled.get(script)
        if compiled is None:
            compiled = self._compiled[script] = self._lua.compile(script)
        lua, outer = self._lua, self._model
        globals_ = lua.globals()
        globals_[b"KEYS"], globals_[b"ARGV"] = lua.table(*keys), lua.table(*arguments)
        self._model = model
        try:
            return self._from_lua(globals_[b"attempt"](compiled))
        finally:
            self._model = outer

    def _call(self, name: bytes, *arguments: Any) -> tuple[bool, Any]:
        assert self._model is not None
        texts = [each if isinstance(each, bytes) else _number(each) for each in arguments]
        try:
            reply = self._model.call(name.decode().upper(), texts)
        except Failure as failure:
            return False, failure.text.encode()
        return True, self._to_lua(reply)

    def _to_lua(self, reply: Reply) -> Any:
        if reply is None:
            return False
        if isinstance(reply, Ok):
            return self._lua.table_from({b"ok": reply.text.encode()})
        if isinstance(reply, list):
            return self._lua.table(*map(self._to_lua, reply))
        return reply

    def _from_lua(self, value: Any) -> Reply:
        if value is None or value is False:
            return None
        if value is True:
            return 1
        if isinstance(value, int | float):
            return int(value)
        if isinstance(value, bytes):
            return value
        if (failure := value[b"err"]) is not None:
            raise Failure(failure.decode())
        if (status := value[b"ok"]) is not None:
            return Ok(status.decode())
        replies = []
        for index in range(1, len(value) + 1):
            if value[index] is None:
                break
            replies.append(self._from_lua(value[index]))
        return replies


LUA = _Lua()
