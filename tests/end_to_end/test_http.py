"""The HTTP interface byte by byte, for old and new clients, on each server."""

import asyncio
import json
import re
import socket
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.end_to_end.conftest import ALLOWED_ORIGIN, Pair
from tests.harness.event_source import subscribe
from tests.harness.servers import PUBLISH_KEY, START_DEADLINE_SECONDS

KEY = {"Authorization": f"Bearer {PUBLISH_KEY}"}
JSON = {"Content-Type": "application/json"}
PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("status", "code", "headers", "body"),
    [
        (400, "bad-request", KEY | JSON, b"{"),
        (401, "unauthenticated", JSON, b"{}"),
        (401, "unauthenticated", {"Authorization": "Bearer of bad news"} | JSON, b"{}"),
        (413, "too-large", KEY | JSON, b'{"topic":"t","data":"%b"}' % (b"x" * 65_537)),
        (413, "too-large", KEY | JSON, b"[" + b" " * (8 * 1024 * 1024) + b"]"),
        (415, "unsupported-media-type", KEY | {"Content-Type": "text/xml"}, b"<event/>"),
        (422, "invalid", KEY | JSON, b'{"topic":"t","data":1,"type":"stream.cursor"}'),
        (422, "invalid", KEY | JSON, b'[{"topic":"t","data":1},{"topic":"","data":2}]'),
    ],
)
def test_a_publication_that_cannot_be_accepted_is_answered_with_a_problem(
    pair: Pair, status: int, code: str, headers: dict[str, str], body: bytes
) -> None:
    answer, fields, content = pair.one.request("POST", "/publish/", body=body, headers=headers)
    problem = json.loads(content)
    assert (answer, problem["status"], problem["type"]) == (
        status,
        status,
        f"urn:carillon:problem:{code}",
    )
    assert _lower(fields)["content-type"] == PROBLEM
    assert ("www-authenticate" in _lower(fields)) == (status == 401)


def test_a_repeated_publication_is_the_same_event(pair: Pair, topic: str) -> None:
    body = json.dumps({"topic": topic, "data": "once"}).encode()
    headers = KEY | JSON | {"Idempotency-Key": topic}
    first, _, created = pair.one.request("POST", "/publish/", body=body, headers=headers)
    again, _, repeated = pair.other.request("POST", "/publish/", body=body, headers=headers)
    assert (first, again) == (201, 200)
    assert json.loads(repeated) == json.loads(created) | {"duplicate": True}


def test_a_key_with_another_body_is_a_conflict(pair: Pair, topic: str) -> None:
    headers = KEY | JSON | {"Idempotency-Key": topic}
    for data, status in (("one", 201), ("another", 422)):
        body = json.dumps({"topic": topic, "data": data}).encode()
        assert pair.one.request("POST", "/publish/", body=body, headers=headers)[0] == status


def test_a_form_and_ndjson_are_published_too(pair: Pair, topic: str) -> None:
    form = urlencode({"topic": topic, "data": "from a form"}).encode()
    lines = b"".join(b'{"topic":"%b","data":%d}\n' % (topic.encode(), n) for n in range(3))
    for kind, body in (("x-www-form-urlencoded", form), ("x-ndjson", lines)):
        headers = KEY | {"Content-Type": f"application/{kind}"}
        assert pair.one.request("POST", "/publish/", body=body, headers=headers)[0] == 201


@pytest.mark.parametrize("path", ["/publish", "/publish/"])
def test_a_chunked_upload_is_published(pair: Pair, topic: str, path: str) -> None:
    body = json.dumps({"topic": topic, "data": "x" * 10_000}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += "Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n"
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(body[i : i + 999]), body[i : i + 999])
        for i in range(0, len(body), 999)
    )
    request = f"{head}Authorization: {KEY['Authorization']}\r\n\r\n".encode() + chunks
    answer = _send(pair.one.port, request + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 201 ")


def test_a_body_that_breaks_off_publishes_nothing(pair: Pair, topic: str) -> None:
    head = "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Authorization: {KEY['Authorization']}\r\nContent-Length: 1000\r\n\r\n"
    body = json.dumps({"topic": topic, "data": "broken off"})
    with socket.create_connection(("127.0.0.1", pair.one.port), START_DEADLINE_SECONDS) as client:
        client.sendall(f"{head}{body}".encode())
    pair.one.publish({"topic": topic, "data": "whole"})
    replayed = _read_until(pair.one.port, f"/events/?topic={topic}&since=all", b"data: whole\n\n")
    assert b"broken off" not in replayed


def test_a_client_of_http_1_0_publishes_and_subscribes(pair: Pair, topic: str) -> None:
    body = json.dumps({"topic": topic, "data": "old but well"})
    head = f"POST /publish/ HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    head += f"Authorization: {KEY['Authorization']}\r\nContent-Type: application/json\r\n\r\n"
    answer = _send(pair.one.port, f"{head}{body}".encode())
    assert re.match(rb"HTTP/1\.[01] 201 ", answer)
    path = f"/events/?topic={topic}&since=all"
    stream = _read_until(pair.one.port, path, b"data: old but well\n\n", version="1.0")
    assert re.match(rb"HTTP/1\.[01] 200 ", stream)


def test_a_request_target_that_is_too_long_gets_414(pair: Pair) -> None:
    path = f"/events/?topic=demo.{'x' * 9_000}"
    status, headers, body = pair.one.request("GET", path[:9_000], headers={})
    assert (status, json.loads(body)["type"]) == (414, "urn:carillon:problem:uri-too-long")
    assert _lower(headers)["content-type"] == PROBLEM


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_client_that_does_not_accept_a_stream_gets_406(pair: Pair, accept: str) -> None:
    status, _, _ = pair.one.request("GET", "/events/?topic=demo.a", headers={"Accept": accept})
    assert status == 406


@pytest.mark.parametrize("path", ["/events", "/events/"])
def test_head_gets_the_headers_of_a_stream_and_ends(pair: Pair, path: str) -> None:
    status, headers, body = pair.one.request("HEAD", f"{path}?topic=demo.a", headers={})
    assert (status, body) == (200, b"")
    assert _lower(headers)["content-type"] == "text/event-stream"


def test_options_names_the_methods_and_ends(pair: Pair) -> None:
    status, headers, body = pair.one.request("OPTIONS", "/events/", headers={})
    assert (status, body) == (204, b"")
    assert _lower(headers)["allow"] == "GET, HEAD, OPTIONS"
    assert "access-control-allow-origin" not in _lower(headers)


@pytest.mark.parametrize(
    ("origin", "allowed"), [(ALLOWED_ORIGIN, True), ("https://elsewhere.example", False)]
)
def test_a_preflight_lets_pages_of_allowed_origins_resume(
    pair: Pair, origin: str, allowed: bool
) -> None:
    request = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "last-event-id",
    }
    status, fields, _ = pair.one.request("OPTIONS", "/events/?topic=demo.a", headers=request)
    headers = _lower(fields)
    assert status == 204
    assert headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert "last-event-id" in headers["access-control-allow-headers"].lower()
    assert headers["vary"] == "Origin"


def test_a_topic_that_is_not_public_is_forbidden(pair: Pair) -> None:
    status, problem = pair.one.get("/events/?topic=secret")
    assert (status, problem["type"]) == (403, "urn:carillon:problem:forbidden")


def _lower(headers: dict[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _send(port: int, request: bytes) -> bytes:
    """Send a request; the whole response, which ends when the server closes."""
    with socket.create_connection(("127.0.0.1", port), START_DEADLINE_SECONDS) as client:
        client.sendall(request)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        return answer


def _read_until(port: int, path: str, end: bytes, *, version: str = "1.1") -> bytes:
    with socket.create_connection(("127.0.0.1", port), START_DEADLINE_SECONDS) as client:
        client.sendall(f"GET {path} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while end not in answer:
            piece = client.recv(65536)
            assert piece, answer
            answer += piece
        return answer


async def test_an_event_carries_the_traceparent_of_its_request(pair: Pair, topic: str) -> None:
    valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with subscribe(pair.other.port, topic, envelope="1") as stream:
        await stream.next()
        for header in (valid, "00-not-a-trace-01"):
            body = urlencode({"topic": topic, "data": header}).encode()
            headers = {
                "Authorization": f"Bearer {PUBLISH_KEY}",
                "Content-Type": "application/x-www-form-urlencoded",
                "traceparent": header,
            }
            status, _, _ = await asyncio.to_thread(
                pair.one.request, "POST", "/publish/", body=body, headers=headers
            )
            assert status == 201
        traced, other = [json.loads((await stream.next_event()).data) for _ in range(2)]
    assert traced["traceparent"] == valid
    assert "traceparent" not in other
