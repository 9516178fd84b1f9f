"""Which proxy is in front of a site, and what to set in it.

A proxy names itself in `Server` or `Via`. Those that do not, such as HAProxy and an Apache before
an origin that sends `Server`, answer a request that is not HTTP by themselves, and that shows them.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from notifications.management.doctor.target import Target

NO_HTTP = b"GET / HTTP/1.1\r\nHost: localhost\r\nA header without a colon\r\n\r\n"
MARKS = {
    "nginx": r"\bnginx|openresty",
    "Caddy": r"\bcaddy\b",
    "HAProxy": r"haproxy|your browser sent an invalid request",
    "Apache": r"\bapache\b",
    "lighttpd": r"\blighttpd\b",
    "Varnish": r"\bvarnish\b",
    "H2O": r"\bh2o/",
    "Cloudflare": r"\bcloudflare\b",
}
"""What names each proxy in `Server`, `Via` or its answer to a request that is not HTTP."""


class Subject(StrEnum):
    """What a proxy may do wrong."""

    BUFFERING = "buffering"
    COMPRESSION = "compression"
    DISCONNECT = "disconnect"
    IDLE = "idle"


CURES: dict[Subject, dict[str, str]] = {
    Subject.BUFFERING: {
        "nginx": "proxy_buffering off (or let X-Accel-Buffering through), and no gzip on "
        "text/event-stream",
        "Caddy": "no encode on this path, and no response_buffers",
        "HAProxy": "option http-no-delay, no option http-buffer-request, no compression",
        "Apache": "flushpackets=on at ProxyPass, and SetEnv no-gzip 1 on this path",
        "lighttpd": "server.stream-response-body = 1",
        "Varnish": "return (pass) in vcl_recv, and do_stream as it is by default",
        "H2O": "compress: OFF on this path",
        "Cloudflare": "respect Cache-Control: no-transform, and no rule that caches this path",
    },
    Subject.COMPRESSION: {
        "nginx": "gzip off for this path",
        "Caddy": "no encode there",
        "HAProxy": "no compression type text/event-stream",
        "Apache": "SetEnv no-gzip 1 and SetEnv no-brotli 1 on this path",
        "lighttpd": "text/event-stream out of deflate.mimetypes",
        "Varnish": "no do_gzip for this path",
        "H2O": "compress: OFF on this path",
        "Cloudflare": "respect Cache-Control: no-transform",
    },
    Subject.DISCONNECT: {
        "nginx": "proxy_ignore_client_abort off (its default)",
        "Caddy": "no flush_interval -1: Caddy flushes streams at once without it, and with it "
        "keeps the requests of clients that left",
        "HAProxy": "option abortonclose in defaults or listen: in a backend it has no effect",
        "Apache": "it has no setting for this, and tells the origin at the second write. Count "
        "with it in limits of streams per user, or route this path past Apache",
        "lighttpd": "it tells the origin at the next write, or at once over HTTP/2",
        "Varnish": "it has no setting for this, and tells the origin at the second write. Count "
        "with it in limits of streams per user, or route this path past Varnish",
        "H2O": "clients with HTTP/2: over HTTP/1.1 it tells the origin at the second write",
        "Cloudflare": "no shielding or caching on this path",
    },
    Subject.IDLE: {
        "nginx": "proxy_read_timeout 60s",
        "Caddy": "no write_timeout or read_timeout in its servers and transports",
        "HAProxy": "timeout client 60s and timeout server 60s",
        "Apache": "timeout=60 at ProxyPass",
        "lighttpd": "proxy.server with read-timeout above 30, or without it",
        "Varnish": "between_bytes_timeout 60s at the backend; and send_timeout (600 s) limits the "
        "whole response: set sess.send_timeout = 365d in vcl_deliver",
        "H2O": "proxy.timeout.io: 60000",
        "Cloudflare": "its limit is 100 s, and CARILLON_KEEPALIVE has to be below it",
    },
}


def named(headers: Mapping[str, str]) -> list[str]:
    """The proxies that these headers name."""
    text = f"{headers.get('server', '')} {headers.get('via', '')}"
    return [name for name, mark in MARKS.items() if re.search(mark, text, re.IGNORECASE)]


async def cure(target: Target, subject: Subject) -> str:
    """What to set in the proxy in front of the target; in each that we know if it has no name."""
    names = named(target.headers) or await _shown(target)
    cures = CURES[subject]
    return "; ".join(f"{name}: {cures[name]}" for name in names or cures) + " (docs/deploy.md)."


async def _shown(target: Target) -> list[str]:
    """The proxies that the answer to a request that is not HTTP names."""
    try:
        answer = await target.exchange(NO_HTTP)
    except (OSError, TimeoutError):
        return []
    return named({"server": answer.decode("latin1")})
