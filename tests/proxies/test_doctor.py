"""`carillon doctor` through real proxies with right and wrong configurations."""

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

from notifications.management.doctor import delivery
from notifications.management.doctor.questions import diagnose
from notifications.management.doctor.target import Target
from notifications.management.doctor.verdicts import Grade, Verdict
from tests.browser.faulty_proxy import FaultyProxy
from tests.harness.proxies import Proxy, caddy, haproxy, nginx
from tests.harness.servers import PUBLISH_KEY, free_port, wait_until_ready
from tests.proxies.conftest import wait_for_origin
from tests.proxies.documented import DOCUMENTED, certificate_of
from tests.proxies.origin import Origin

APP = "https://app.example.com"
SHORT_SECONDS = 3.0
"""The doctor's timeout, where an expected event never comes."""
LONG_SECONDS = 30.0


@pytest.fixture(autouse=True)
def _origin_is_ready(site: Origin) -> None:
    """Another test may have killed it, and it takes a while to start."""
    wait_until_ready(site.port)


def diagnosed(url: str, *flags: str, **options: Any) -> dict[str, dict[str, str]]:
    """The verdicts by their names. With a fault the command fails."""
    out = StringIO()
    options = {"key": PUBLISH_KEY, "topic": "demo", "timeout": LONG_SECONDS, **options}
    arguments = [f"--{name}={value}" for name, value in options.items() if value is not None]
    failed = False
    try:
        call_command("carillon", "doctor", url, "--json", *flags, *arguments, stdout=out)
    except CommandError:
        failed = True
    verdicts = json.loads(out.getvalue())["verdicts"]
    assert failed is any(verdict["grade"] == "fault" for verdict in verdicts)
    assert all("cure" in verdict for verdict in verdicts if verdict["grade"] in ("fault", "advice"))
    return {verdict["name"]: verdict for verdict in verdicts}


def grades(verdicts: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: verdict["grade"] for name, verdict in verdicts.items()}


REPORTS_AT_SECOND_WRITE = {("apache", True), ("varnish", False), ("varnish", True), ("h2o", True)}
"""The proxies that report a client that left only at the second write after, by `http1`."""
REPORTS_AT_FIRST_WRITE = {("apache", False), ("lighttpd", True)}


@pytest.fixture(scope="module")
def found_in_documented(
    proxies: dict[str, Proxy], site: Origin
) -> dict[tuple[str, bool], dict[str, Verdict]]:
    """The verdicts on each documented proxy, by its name and by `http1`; all found at once."""
    wait_until_ready(site.port)
    targets = dict[tuple[str, bool], Target]()

    async def verdicts(target: Target) -> dict[str, Verdict]:
        return {
            verdict.name: verdict
            async for verdict in diagnose(target, origin=APP, idle_seconds=1.0)
        }

    async def all_verdicts() -> list[dict[str, Verdict]]:
        return await asyncio.gather(*map(verdicts, targets.values()))

    with pytest.MonkeyPatch.context() as monkeypatch:
        # A verdict depends on them, and so many at once are slower than one command.
        monkeypatch.setattr(delivery, "AT_ONCE_SECONDS", 3 * delivery.AT_ONCE_SECONDS)
        monkeypatch.setattr(delivery, "WRITE_SECONDS", 3 * delivery.WRITE_SECONDS)
        for name, proxy in proxies.items():
            wait_for_origin(proxy)
            if proxy.scheme == "https":
                monkeypatch.setenv("SSL_CERT_FILE", str(certificate_of(name, proxy)))
            for http1 in (False, True):
                targets[name, http1] = Target(
                    proxy.url,
                    topic="demo",
                    key=PUBLISH_KEY,
                    timeout=LONG_SECONDS,
                    http2=not http1,
                )
        return dict(zip(targets, asyncio.run(all_verdicts()), strict=True))


@pytest.mark.parametrize("http1", [False, True], ids=["HTTP2", "HTTP1"])
@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_documented_proxies_have_no_fault(
    name: str,
    http1: bool,
    found_in_documented: dict[tuple[str, bool], dict[str, Verdict]],
    proxies: dict[str, Proxy],
) -> None:
    verdicts = found_in_documented[name, http1]
    found = {verdict.name: verdict.grade for verdict in verdicts.values()}
    disconnect = verdicts["disconnect"]
    grade = found.pop("disconnect")
    assert set(found.values()) == {Grade.OK}
    if (name, http1) in REPORTS_AT_SECOND_WRITE | REPORTS_AT_FIRST_WRITE:
        write = "second" if (name, http1) in REPORTS_AT_SECOND_WRITE else "first"
        assert grade is Grade.ADVICE, disconnect
        assert f"{write} write" in disconnect.text
        assert disconnect.cure.lower().startswith(f"{name}: ")
    else:
        assert grade is Grade.OK, disconnect
    is_http2 = proxies[name].scheme == "https" and not http1
    assert verdicts["http"].text.startswith("HTTP/2" if is_http2 else "HTTP/1.1")
    assert list(verdicts) == [
        *("reach", "http", "compression", "first byte", "chunks", "resume", "disconnect"),
        *("cors", "idle"),
    ]


def test_a_server_without_a_proxy_has_no_fault(site: Origin) -> None:
    verdicts = diagnosed(site.url, origin=APP)
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
BUFFERS = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"
COMPRESSES = "gzip on; gzip_types text/event-stream; gzip_min_length 1; gzip_proxied any;"
DROPS_CURSOR = "proxy_set_header Last-Event-ID ''; proxy_http_version 1.1;"
KEEPS_UPSTREAM = "proxy_ignore_client_abort on; proxy_http_version 1.1;"
REPEATS_CORS = "add_header Access-Control-Allow-Origin $http_origin;"
CUTS = "proxy_read_timeout 300ms; proxy_http_version 1.1;"


@contextmanager
def configured_nginx(folder: Path, origin: int, more: str) -> Iterator[Proxy]:
    port = free_port()
    with nginx(folder, port, NGINX.format(port=port, origin=origin, more=more)) as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        (BUFFERS, {"first byte"}),
        (COMPRESSES, {"compression"}),
        (DROPS_CURSOR, {"resume"}),
        (REPEATS_CORS, {"cors"}),
    ],
    ids=["buffering", "gzip", "no cursor", "cors twice"],
)
def test_a_wrong_configuration_of_nginx_is_found(
    more: str, wrong: set[str], site: Origin, tmp_path: Path
) -> None:
    with configured_nginx(tmp_path, site.port, more) as proxy:
        # A fault shows at once, except where an event never comes.
        verdicts = diagnosed(
            proxy.url, origin=APP, timeout=SHORT_SECONDS if more == BUFFERS else LONG_SECONDS
        )
    assert {name for name, grade in grades(verdicts).items() if grade == "fault"} == wrong


def test_an_nginx_that_keeps_streams_without_a_client_is_found(
    site: Origin, tmp_path: Path
) -> None:
    """nginx keeps them until its next write to the client fails."""
    with configured_nginx(tmp_path, site.port, KEEPS_UPSTREAM) as proxy:
        verdicts = diagnosed(proxy.url, "--http1", timeout=SHORT_SECONDS)
    assert grades(verdicts)["disconnect"] == "advice"
    assert verdicts["disconnect"]["cure"].startswith("nginx: proxy_ignore_client_abort off")


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
    timeout server {seconds}s
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
        verdicts = diagnosed(proxy.url, timeout=SHORT_SECONDS)
    assert grades(verdicts)["compression"] == "fault"
    assert grades(verdicts)["first byte"] == "fault"  # it waits for more bytes to compress


CADDY_KEEPS = """
:{port} {{
	reverse_proxy 127.0.0.1:{origin} {{
		flush_interval -1
	}}
}}
"""


def test_a_caddy_that_keeps_the_requests_of_clients_that_left_is_found(
    site: Origin, tmp_path: Path
) -> None:
    port = free_port()
    with caddy(tmp_path, port, CADDY_KEEPS.format(port=port, origin=site.port)) as proxy:
        verdicts = diagnosed(proxy.url, timeout=SHORT_SECONDS)
    assert grades(verdicts)["disconnect"] in ("advice", "fault")
    assert "Caddy: no flush_interval -1" in verdicts["disconnect"]["cure"]


def test_a_haproxy_that_reports_late_is_known_without_a_header(
    site: Origin, tmp_path: Path
) -> None:
    port = free_port()
    with haproxy(tmp_path, port, HAPROXY.format(port=port, origin=site.port, seconds=60)) as proxy:
        verdicts = diagnosed(proxy.url)
    assert grades(verdicts)["disconnect"] == "advice"
    assert "second write" in verdicts["disconnect"]["text"]
    assert verdicts["disconnect"]["cure"].startswith("HAProxy: option abortonclose in defaults")


def test_a_haproxy_that_cuts_idle_streams_is_found(site: Origin, tmp_path: Path) -> None:
    port = free_port()
    with haproxy(tmp_path, port, HAPROXY.format(port=port, origin=site.port, seconds=2)) as proxy:
        verdicts = diagnosed(proxy.url, key=None, topic="demo", idle=20.0)
    assert grades(verdicts)["idle"] == "fault"
    assert re.search(r"it was (cut|ended)", verdicts["idle"]["text"])


def test_with_a_key_of_its_own_no_public_topic_is_needed(site: Origin) -> None:
    verdicts = diagnosed(site.url, topic=None, key=site.make_key("doctor"))
    assert set(grades(verdicts).values()) == {"ok", "untested"}
    assert grades(verdicts)["disconnect"] == "ok"


def test_a_key_that_may_not_publish_is_reported(site: Origin) -> None:
    verdicts = diagnosed(site.url, topic="demo", key=site.make_key("elsewhere"))
    assert grades(verdicts)["publishing"] == "fault"
    assert "403" in verdicts["publishing"]["text"]
    assert grades(verdicts)["resume"] == "ok"
    assert grades(verdicts)["disconnect"] == "untested"


def test_checks_that_need_a_key_are_reported_as_untested(site: Origin) -> None:
    verdicts = diagnosed(site.url, key=None)
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


def test_a_topic_that_is_not_public_needs_a_key_that_may_subscribe_to_it(site: Origin) -> None:
    verdicts = diagnosed(site.url, key=None, topic=None)
    assert grades(verdicts) == {"reach": "fault"}
    assert "keys create doctor" in verdicts["reach"]["cure"]


def test_a_missing_origin_is_distinguished_from_a_missing_proxy(
    proxies: dict[str, Proxy], site: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = proxies["nginx"]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_of("nginx", proxy)))
    with site.gone():
        mapped = diagnosed(proxy.url)
        with configured_nginx(tmp_path, site.port, "") as plain:
            refused = diagnosed(plain.url)
        no_server = diagnosed(f"http://localhost:{free_port()}", timeout=SHORT_SECONDS)
    assert "as it should" in mapped["first byte"]["text"]
    assert "502" in refused["reach"]["text"]
    assert "map 502" in refused["reach"]["cure"]
    assert grades(no_server) == {"reach": "fault"}


def test_without_json_each_verdict_and_each_cure_is_a_line(site: Origin) -> None:
    out = StringIO()
    call_command(
        "carillon",
        "doctor",
        f"{site.url}/events/",
        "--topic=demo",
        f"--timeout={LONG_SECONDS}",
        stdout=out,
    )
    lines = out.getvalue().splitlines()
    assert lines[0] == f"ok        reach       {site.url}/events/ streams"
    assert any(re.match(r"untested  chunks .*key", line) for line in lines)
    assert any(re.match(r" {21} Cure: give it --key", line) for line in lines)
    assert lines[-1] == "No fault."


def test_an_argument_that_is_no_url_is_refused() -> None:
    with pytest.raises(CommandError, match="not a URL"):
        call_command("carillon", "doctor", "example.com")


class HoldingProxy(FaultyProxy):
    """Passes the start of a stream on, and keeps the rest."""

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if not head.startswith(b"GET /events/"):
            await super()._pass_on(head, reader, writer)
            return
        upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self.upstream)
        with self._cuttable(to_upstream):
            to_upstream.write(head)
            passed = b""
            while piece := await upstream.read(65536):
                if b"data: {}" not in passed:
                    writer.write(piece)
                passed += piece


async def test_a_proxy_that_holds_a_stream_back_after_its_start_is_found(site: Origin) -> None:
    seen: dict[str, Verdict] = {}
    async with HoldingProxy.to(site.port) as proxy:
        target = Target(proxy.url, topic="demo", key=PUBLISH_KEY, timeout=SHORT_SECONDS)
        async with aclosing(diagnose(target)) as verdicts:
            async for verdict in verdicts:
                seen[verdict.name] = verdict
                if verdict.name == "chunks":
                    break
    assert seen["first byte"].grade is Grade.OK
    assert seen["chunks"].grade is Grade.FAULT
    assert "Event 1 of 5 was kept" in seen["chunks"].text
