"""Any handshake and any message of a WebSocket is answered and causes no server error."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.asgi import application
from notifications.websocket.protocol import SUBPROTOCOL
from tests.fuzzing.conftest import fuzzing
from tests.fuzzing.exchange import DEADLINE_SECONDS, Headers, recorded_errors
from tests.fuzzing.requests import DEEP, HEADER_LISTS, HUGE, QUERIES, TEXT, VALUES

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("own_log", "threads_close_their_connections", "no_request_threads"),
]

VALID_HEADERS: Headers = [(b"host", b"testserver")]
LAST_COMMAND = '{"type":"subscribe","id":"last","topics":["demo.a"]}'
COMMANDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["subscribe", "subscribe", "unsubscribe", "x"]) | VALUES},
    optional={
        "id": st.sampled_from(["a", "b", "\ud800", "a" * 64, "\0"]) | VALUES,
        "topics": st.just(["demo.a"]) | st.lists(TEXT, max_size=3) | VALUES,
        "cursor": TEXT | VALUES,
        "since": TEXT | VALUES,
        "\ud800": VALUES,
    },
)
TEXTS = (
    st.sampled_from(
        [
            *(
                DEEP[:30_000],
                DEEP,
                HUGE,
                '{"id":' + HUGE + "}",
                "NaN",
                "",
                "null",
                "[]",
                "\ufeff{}",
            ),
            *(
                '{"type":"subscribe","id":"a","id":"b","topics":["demo.a"]}',
                '"\\ud800"',
                '{"\\ud800":1}',
            ),
            '{"type":"\\ud800","id":"a"}',
        ]
    )
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    | (COMMANDS | VALUES).map(json.dumps)
)
RECEIVED_MESSAGES = st.lists(
    TEXTS.map(lambda text: {"type": "websocket.receive", "text": text})
    | st.binary(max_size=9).map(lambda data: {"type": "websocket.receive", "bytes": data})
    | st.just({"type": "websocket.receive", "text": None, "bytes": b"\xff"}),
    max_size=5,
)


async def run_connection(
    path: str, query: bytes, headers: Headers, offered: list[str], messages: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The messages that the application sends until it has answered all, or closes."""
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "subprotocols": offered,
    }
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sent: list[dict[str, Any]] = []
    disconnect = {"type": "websocket.disconnect", "code": 1000}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        last = '"last"' in message.get("text", "")
        if last or message["type"] == "websocket.close":
            incoming.put_nowait(disconnect)

    for message in [{"type": "websocket.connect"}, *messages]:
        incoming.put_nowait(message)
    incoming.put_nowait({"type": "websocket.receive", "text": LAST_COMMAND})
    async with asyncio.timeout(DEADLINE_SECONDS):
        await application(scope, incoming.get, send)
    return sent


def check(sent: list[dict[str, Any]]) -> None:
    assert sent
    assert sent[0]["type"] in ("websocket.accept", "websocket.close")
    for message in sent[1:]:
        if message["type"] == "websocket.close":
            assert message["code"] != 1011, sent
        else:
            frame = json.loads(message["text"].encode())
            assert set(frame) == {"id", "messages"}
            assert frame["messages"]


@fuzzing(max_examples=80)
@given(messages=RECEIVED_MESSAGES)
def test_after_any_messages_the_next_command_is_executed(
    messages: list[dict[str, Any]], loop: asyncio.Runner
) -> None:
    with recorded_errors() as errors:
        sent = loop.run(run_connection("/ws/events/", b"", VALID_HEADERS, [SUBPROTOCOL], messages))
    assert not errors, errors
    check(sent)
    assert '"type":"subscribed"' in sent[-1]["text"]


@fuzzing(max_examples=80)
@given(
    path=st.sampled_from(["/ws/events/", "/ws/events", "/", "/ws/\ufffd", "/ws/events/\0"]),
    query=QUERIES,
    headers=HEADER_LISTS | HEADER_LISTS.map(lambda more: [*VALID_HEADERS, *more]),
    offered=st.lists(st.sampled_from([SUBPROTOCOL, "", "x", "é" * 100]), max_size=3),
)
def test_any_handshake_is_refused_or_served(
    path: str, query: bytes, headers: Headers, offered: list[str], loop: asyncio.Runner
) -> None:
    with recorded_errors() as errors:
        check(loop.run(run_connection(path, query, headers, offered, [])))
    assert not errors, errors
