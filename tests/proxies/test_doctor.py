"""`carillon doctor` through real proxies, right and wrong, before a real server."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from notifications.management.doctor.questions import examine
from notifications.management.doctor.target import Patient
from notifications.management.doctor.verdicts import Grade, Verdict
from tests.browser.proxy import Proxy as BytePump
from tests.harness.servers import PUBLISH_KEY, free_port, wait_until_ready
from tests.proxies.origin import Origin
from tests.proxies.servers import AS_TOLD, Proxy, caddy, certificate_of, haproxy, nginx

APP = "https://app.example.com"
SHORT = 3.0
"""Patience, where what is waited for never comes."""
LONG = 30.0


@pytest.fixture(autouse=True)
def _origin_is_there(site: Origin) -> None:
    """Another test may have lost it, and it takes a while to start."""
    wait_until_ready(site.port)


def examined(url: str, **options: Any) -> dict[str, dict[str, str]]:
    """The verdicts by their names. With a fault the command fails."""
    out = StringIO()
    given = {"key": PUBLISH_KEY, "topic": "demo", "patience": LONG, **options}
    words = [f"--{name}={value}" for name, value in given.items() if value is not None]
    failed = False
    try:
        call_command("carillon", "doctor", url, "--json", *words, stdout=out)
    except CommandError:
        failed = True
    verdicts = json.loads(out.getvalue())["verdicts"]
    assert failed is any(each["grade"] == "fault" for each in verdicts)
    assert all("cure" in each for each in verdicts if each["grade"] in ("fault", "advice"))
    return {each["name"]: each for each in verdicts}


def grades(verdicts: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: each["grade"] for name, each in verdicts.items()}


@pytest.mark.parametrize("name", AS_TOLD)
def test_nothing_is_wrong_with_the_proxies_of_the_document(
    name: str, proxies: dict[str, Proxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = proxies[name]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_of(name, proxy)))
    verdicts = examined(proxy.url, origin=APP, idle=1.0)
    assert set(grades(verdicts).values()) == {"ok"}
    assert verdicts["http"]["text"] == "HTTP/2"
    assert list(verdicts) == [
        *("reach", "http", "compression", "first byte", "chunks", "resume", "disconnect"),
        *("cors", "idle"),
    ]


def test_nothing_is_wrong_without_a_proxy_either(site: Origin) -> None:
    verdicts = examined(site.url, origin=APP)
    assert set(grades(verdicts).values()) == {"ok", "untested"}
    assert grades(verdicts)["idle"] == "untested"


NGINX = """
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://127.0.0.1:{origin};
        proxy_set_header Host $http_host;
        {more}
    }}
}}
"""
HOLDS = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"
COMPRESSES = "gzip on; gzip_types text/event-stream; gzip_min_length 1; gzip_proxied any;"
FORGETS = "proxy_set_header Last-Event-ID ''; proxy_http_version 1.1;"
NEVER_TELLS = "proxy_ignore_client_abort on; proxy_http_version 1.1;"
REPEATS = "add_header Access-Control-Allow-Origin $http_origin;"
CUTS = "proxy_read_timeout 300ms; proxy_http_version 1.1;"


@contextmanager
def nginx_that(folder: Path, origin: int, more: str) -> Iterator[Proxy]:
    port = free_port()
    with nginx(folder, port, NGINX.format(port=port, origin=origin, more=more)) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        (HOLDS, {"first byte"}),
        (COMPRESSES, {"compression"}),
        (FORGETS, {"resume"}),
        (REPEATS, {"cors"}),
    ],
    ids=["buffering", "gzip", "no cursor", "cors twice"],
)
def test_an_nginx_that_gets_it_wrong_is_told_what_is_wrong(
    more: str, wrong: set[str], site: Origin, tmp_path: Path
) -> None:
    with nginx_that(tmp_path, site.port, more) as proxy:
        # Whatever is wrong is wrong at once, but for what never comes.
        verdicts = examined(proxy.url, origin=APP, patience=SHORT if more == HOLDS else LONG)
    assert {name for name, grade in grades(verdicts).items() if grade == "fault"} == wrong


def test_an_nginx_that_keeps_what_nobody_hears_is_found(quiet: int, tmp_path: Path) -> None:
    """Until its next write to the client fails: after a keep-alive or two."""
    with nginx_that(tmp_path, quiet, NEVER_TELLS) as proxy:
        verdicts = examined(proxy.url, patience=SHORT)
    assert grades(verdicts)["disconnect"] == "fault"


CADDY = """
:{port} {{
	encode {{
		gzip
		minimum_length 1
		match header Content-Type text/event-stream*
	}}
	reverse_proxy 127.0.0.1:{origin}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 2s
frontend web
    bind 127.0.0.1:{port}
    default_backend pages
backend pages
    server carillon 127.0.0.1:{origin}
"""


def test_a_caddy_that_compresses_streams_is_found(site: Origin, tmp_path: Path) -> None:
    port = free_port()
    text = CADDY.format(port=port, origin=site.port)
    with caddy(tmp_path, port, text) as proxy:
        verdicts = examined(proxy.url, patience=SHORT)
    assert grades(verdicts)["compression"] == "fault"
    assert grades(verdicts)["first byte"] == "fault"  # it waits for more to compress


def test_a_haproxy_that_cuts_what_is_idle_is_found(
    site: Origin, quiet: int, tmp_path: Path
) -> None:
    port = free_port()
    with haproxy(tmp_path, port, HAPROXY.format(port=port, origin=quiet)) as proxy:
        verdicts = examined(proxy.url, key=None, topic="demo", idle=20.0)
    assert grades(verdicts)["idle"] == "fault"
    assert re.search(r"it was (cut|ended)", verdicts["idle"]["text"])


def test_a_key_of_its_own_needs_no_public_topic(site: Origin) -> None:
    verdicts = examined(site.url, topic=None, key=site.make_key("doctor"))
    assert set(grades(verdicts).values()) == {"ok", "untested"}
    assert grades(verdicts)["disconnect"] == "ok"


def test_a_key_that_may_not_publish_there_is_told(site: Origin) -> None:
    verdicts = examined(site.url, topic="demo", key=site.make_key("elsewhere"))
    assert grades(verdicts)["publishing"] == "fault"
    assert "403" in verdicts["publishing"]["text"]
    assert grades(verdicts)["resume"] == "ok"
    assert grades(verdicts)["disconnect"] == "untested"


def test_what_cannot_be_told_without_a_key_is_said(site: Origin) -> None:
    verdicts = examined(site.url, key=None)
    assert grades(verdicts) == {
        "reach": "ok",
        "http": "ok",
        "compression": "ok",
        "first byte": "ok",
        "chunks": "untested",
        "resume": "ok",
        "disconnect": "untested",
        "cors": "untested",
        "idle": "untested",
    }
    assert "keys create doctor" in verdicts["chunks"]["cure"]


def test_a_topic_that_is_not_public_needs_a_key_that_may_hear_it(site: Origin) -> None:
    verdicts = examined(site.url, key=None, topic=None)
    assert grades(verdicts) == {"reach": "fault"}
    assert "keys create doctor" in verdicts["reach"]["cure"]


def test_a_site_of_which_the_origin_is_away_is_told_apart(
    proxies: dict[str, Proxy], site: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = proxies["nginx"]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_of("nginx", proxy)))
    with site.gone():
        mapped = examined(proxy.url)
        with nginx_that(tmp_path, site.port, "") as plain:
            refused = examined(plain.url)
        nobody = examined(f"http://localhost:{free_port()}", patience=SHORT)
    assert "as it should" in mapped["first byte"]["text"]
    assert "502" in refused["reach"]["text"]
    assert "map 502" in refused["reach"]["cure"]
    assert grades(nobody) == {"reach": "fault"}


def test_for_people_each_verdict_is_a_line_and_its_cure_another(site: Origin) -> None:
    out = StringIO()
    call_command(
        "carillon",
        "doctor",
        f"{site.url}/events/",
        "--topic=demo",
        f"--patience={LONG}",
        stdout=out,
    )
    said = out.getvalue().splitlines()
    assert said[0] == f"ok        reach       {site.url}/events/ streams"
    assert any(re.match(r"untested  chunks .*key", line) for line in said)
    assert any(re.match(r" {21} Cure: give it --key", line) for line in said)
    assert said[-1] == "No fault."


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(CommandError, match="no URL"):
        call_command("carillon", "doctor", "example.com")


class Holding(BytePump):
    """Passes a stream's beginning on, and keeps what follows."""

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not head.startswith(b"GET /events/"):
            await super()._pass_on(head, reader, writer)
            return
        upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
        with self._cuttable(to_upstream):
            to_upstream.write(head)
            passed = b""
            while piece := await upstream.read(65536):
                if b"data: {}" not in passed:
                    writer.write(piece)
                passed += piece


async def test_a_stream_that_is_held_back_after_its_beginning_is_found(site: Origin) -> None:
    found: dict[str, Verdict] = {}
    async with Holding.to(site.port) as proxy:
        patient = Patient(proxy.url, topic="demo", key=PUBLISH_KEY, patience=SHORT)
        async with aclosing(examine(patient)) as verdicts:
            async for verdict in verdicts:
                found[verdict.name] = verdict
                if verdict.name == "chunks":
                    break
    assert found["first byte"].grade is Grade.OK
    assert found["chunks"].grade is Grade.FAULT
    assert "Event 1 of 5 was kept" in found["chunks"].text
