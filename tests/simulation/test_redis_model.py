"""The model of Redis against a Redis and a Valkey: the same random commands, the same replies.

The servers' clocks differ, so positions are compared by the order in which they first came up.
"""

import re
from collections.abc import Iterator
from random import Random
from typing import Any

import hiredis
import pytest
from redis import Redis
from redis.exceptions import NoScriptError, ResponseError

from notifications.events import Event
from notifications.log import ended, script, sections
from notifications.log.acks import Mark
from notifications.log.cursors import START, Cursor, make_position
from notifications.log.ended import EndedStream
from notifications.log.entries import ControlAction, ControlEntry, Draft, Retention
from notifications.log.script import Command, Keys, Slack
from tests.contract.test_log import session_valkey as session_valkey
from tests.harness.servers import RedisServer
from tests.simulation.redis_model import OUT_OF_MEMORY, Failure, RedisModel, encode

COMMANDS = 200
CLOCK_MS = 1_800_000_000_000
PLACEHOLDER_MS = 7_000_000_000_000
RETENTION = Retention(events=6, bytes=2_000, age=3600, idempotency_age=60)
SLACK = Slack(events=3, controls=3, bytes=1_000, ms=1_000)
_ID = re.compile(rb"\b\d{13}-\d+\b")
_PLACEHOLDER = re.compile(rb"\b7000000000(\d{3})-0\b")
"""Of a position: its number."""


@pytest.fixture(params=["redis", "valkey"])
def client(request: pytest.FixtureRequest) -> Iterator[Redis]:
    server: RedisServer = request.getfixturevalue(f"session_{request.param}")
    with Redis.from_url(server.url, protocol=2) as client:
        client.flushall()
        client.script_flush()
        yield client
        client.config_set("maxmemory", 0)


class Pair:
    """A server and the model. Each knows its own positions, and both number them alike."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.now_ms = CLOCK_MS
        self.model = RedisModel(lambda: self.now_ms)
        self.ids: tuple[list[bytes], list[bytes]] = ([], [])

    def run(self, command: Command) -> Any:
        """The reply of both, with numbers for positions."""
        self.now_ms += 1
        texts = [each if isinstance(each, bytes) else str(each).encode() for each in command]
        real = self._normal(self._real(self._with_ids(texts, 0)), 0)
        model = self._normal(self._model(self._with_ids(texts, 1)), 1)
        assert model == real, texts
        return real

    def _real(self, command: list[bytes]) -> Any:
        try:
            return self._raw(command)
        except NoScriptError as error:
            return Failure(f"NOSCRIPT {error}")
        except ResponseError as error:
            return Failure(str(error))

    def _raw(self, command: list[bytes]) -> Any:
        connection = self.client.connection_pool.get_connection()
        try:
            connection.send_command(*command)
            return connection.read_response()
        finally:
            self.client.connection_pool.release(connection)

    def _model(self, command: list[bytes]) -> Any:
        try:
            reply = self.model.execute(command)
        except Failure as failure:
            return failure
        reader = hiredis.Reader()
        reader.feed(encode(reply))
        return reader.gets()

    def _with_ids(self, command: list[bytes], side: int) -> list[bytes]:
        def actual(match: re.Match[bytes]) -> bytes:
            return self.ids[side][int(match[1]) % len(self.ids[side])] if self.ids[side] else b"0-0"

        return [_PLACEHOLDER.sub(actual, text) for text in command]

    def _normal(self, reply: Any, side: int) -> Any:
        if isinstance(reply, list):
            return [self._normal(each, side) for each in reply]
        if isinstance(reply, Failure):
            # redis-py leaves out the first word of some errors.
            text = reply.text.removeprefix("ERR ").removeprefix("OOM ")
            return ("error", re.sub(r"^(NOSCRIPT|WRONGTYPE) .*", r"\1", text))
        if isinstance(reply, bytes):
            return _ID.sub(lambda match: self._number(match[0], side), reply)
        if isinstance(reply, int) and reply > 10**12:
            return "the clock"
        return reply

    def _number(self, id: bytes, side: int) -> bytes:
        known = self.ids[side]
        if id not in known:
            known.append(id)
        return b"<%d>" % known.index(id)


def raw_command(random: Random) -> list[Any]:
    """Any command on few keys, some of which are of another type."""
    key = random.choice("abcde")
    stream = "s"  # two could have the same positions
    position = random.choice(["0-0", f"{PLACEHOLDER_MS + random.randrange(30)}-0", "5"])
    return random.choice(
        [
            ["XADD", stream, "*", "f", random.randint(1, 99)],
            ["XADD", stream, "*", "f", "x", "g", ""],
            ["XLEN", stream],
            ["XRANGE", stream, "-", "+", "COUNT", random.randint(1, 3)],
            ["XRANGE", stream, f"({position}", "+"],
            ["XRANGE", stream, position, position],
            ["XREVRANGE", stream, "+", f"({position}", "COUNT", random.randint(1, 3)],
            ["XREVRANGE", stream, f"({position}", "-"],
            ["XREAD", "COUNT", random.randint(1, 3), "STREAMS", stream, position],
            ["XDEL", stream, position],
            ["XTRIM", stream, "MAXLEN", "=", random.randint(0, 6)],
            ["XTRIM", stream, "MINID", "=", position],
            ["HSET", key, "f", random.randint(1, 9), "g", "x"],
            ["HSETNX", key, random.choice("fh"), "1"],
            ["HMGET", key, "f", "g", "h"],
            ["SET", key, random.choice(["", "x"])],
            ["SET", key, "x", "EX", 100],
            ["GET", key],
            ["RPUSH", key, "x", random.randint(1, 9)],
            ["LPOP", key],
            ["LLEN", key],
            ["LINDEX", key, random.choice([0, -1, 5])],
            ["ZADD", key, random.choice(["1.5", "2", "-3"]), random.choice("mno")],
            ["ZSCORE", key, "m"],
            ["ZCARD", key],
            ["ZRANGE", key, 0, random.randint(0, 2), "WITHSCORES"],
            ["ZREVRANGEBYSCORE", key, "2", "-inf", "WITHSCORES", "LIMIT", 0, 1],
            ["ZREMRANGEBYSCORE", key, "-inf", random.choice(["1.5", "2"])],
            ["EXISTS", key, stream, key],
            ["DEL", key],
            ["PERSIST", key],
            ["EXPIRE", key, 50],
            ["EVAL", "return {redis.call('EXISTS', KEYS[1]), false, 2.7, 'x'}", 1, key],
            ["EVAL", "return redis.pcall('XLEN', KEYS[1])", 1, key],
            ["EVAL", "return {err = 'MY own'}", 0],
            ["EVALSHA", "0" * 40, 0],
        ]
    )


@pytest.mark.parametrize("seed", range(4))
def test_commands(client: Redis, seed: int) -> None:
    random, pair = Random(seed), Pair(client)
    for _ in range(COMMANDS):
        pair.run(raw_command(random))


class LogCommands:
    """Random commands of the log itself, as its client sends them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.keys = Keys("c", lambda size: f"{self.random.getrandbits(8 * size):0{2 * size}x}")
        self.count = 0
        self.sent: list[sections.Section] = []

    def next(self, epoch: str) -> Command:
        random, keys = self.random, self.keys
        position = make_position(random.choice([0, 1, PLACEHOLDER_MS + random.randrange(100)]))
        cursor = Cursor(epoch, position)
        kind = random.choices(
            ("append", "again", "control", "state", "end", "ended"), (8, 3, 3, 2, 1, 3)
        )
        match kind:
            case ["append"]:
                group = [self._section() for _ in range(random.randint(1, 3))]
                self.sent += group
                return sections.append(keys, RETENTION, group, slack=SLACK)
            case ["again"] if self.sent:
                before = random.choice([None, Cursor(epoch, make_position(0))])
                again = sections.repetition(random.choice(self.sent), before)
                return sections.append(keys, RETENTION, [again], slack=SLACK)
            case ["control"]:
                subject = random.choice(("user:1", "user:2", "topic:t"))
                entry = ControlEntry(
                    ControlAction.END, (subject,), "kicked", id=str(random.randint(1, 30))
                )
                return script.control(keys, RETENTION, entry, slack=SLACK)
            case ["end"]:
                return script.end(keys, random.choice((epoch, "another")))
            case ["ended"]:
                name = random.choice("ab")
                stream = EndedStream(name, cursor, ("user:1", "topic:t"), "{}")
                return random.choice(
                    [
                        ended.remember(keys, {name: random.choice([stream, None])}, seconds=60),
                        ended.recall(keys, ["a", "b"]),
                        script.release(keys, ["k1", "k2"], seconds=30),
                        script.canary(keys, "token"),
                    ]
                )
            case _:
                event = random.choice([position, START])
                return script.state(keys, random.choice([None, Mark(cursor, event)]))

    def _section(self) -> sections.Section:
        random = self.random
        drafts = []
        for _ in range(random.randint(1, 3)):
            self.count += 1
            event = Event(topics=["t"], data="x" * random.choice([1, 200]), id=f"urn:{self.count}")
            key = random.choice([None, None, f"k{random.randint(1, 4)}"])
            fingerprint = f"{random.randint(1, 2)}" * 32 if key else ""
            drafts.append(Draft(event, key, fingerprint, named=random.random() < 0.5))
        return sections.section(self.keys, drafts)


@pytest.mark.parametrize("seed", range(6))
def test_scripts_of_the_log(client: Redis, seed: int) -> None:
    pair, commands = Pair(client), LogCommands(seed)
    pair.run(script.as_eval(script.state(commands.keys)))
    for _ in range(COMMANDS // 2):
        [epoch] = pair.run(["HMGET", commands.keys.meta, "epoch"])
        command = commands.next(epoch.decode())
        reply = pair.run(command)
        if reply == ("error", "NOSCRIPT"):
            pair.run(script.as_eval(command))
    pair.run(["XRANGE", commands.keys.stream, "-", "+"])
    pair.run(["HMGET", commands.keys.meta, "epoch", "last", "size", "events", "event", "counted"])
    assert len(pair.ids[0]) > COMMANDS // 4


@pytest.mark.parametrize("seed", range(2))
def test_a_full_server(client: Redis, seed: int) -> None:
    pair, commands = Pair(client), LogCommands(seed)
    pair.run(script.as_eval(script.state(commands.keys)))
    [epoch] = pair.run(["HMGET", commands.keys.meta, "epoch"])
    client.config_set("maxmemory", 1)
    pair.model.refusal = OUT_OF_MEMORY
    for _ in range(30):
        command = commands.next(epoch.decode())
        if pair.run(command) == ("error", "NOSCRIPT"):
            pair.run(script.as_eval(command))
