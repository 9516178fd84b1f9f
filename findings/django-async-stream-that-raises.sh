#!/usr/bin/env bash
# Django 6.1.3 under ASGI: a streaming response whose async iterator raises in the middle.
#
# Expected: as under WSGI, where the server calls response.close() in every case, so that
# request_finished is sent and the database connections of the request are looked after.
# Seen: neither response.close() nor request_finished nor got_request_exception; the exception reaches
# the server, and nothing in the project is notified that the request is over.
# We: send the signals in a finally clause where our own handler runs the request
# (notifications/asgi/handler.py); streams that are handed off have finished their request before.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(for each in python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[23]*/bin/python; do
  "$each" -c 'print()' >/dev/null 2>&1 && { command -v "$each"; break; }
done)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check django==6.1.3 ||
  { echo 'The packages cannot be installed.'; exit 2; }
cat >"$work/seen.py" <<'PY'
import asyncio
from django.conf import settings

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="x" * 50, MIDDLEWARE=[])
import django

django.setup()
from django.core.asgi import get_asgi_application
from django.core.signals import got_request_exception, request_finished
from django.http import StreamingHttpResponse
from django.urls import path

seen = set()
request_finished.connect(lambda **_: seen.add("request_finished"), weak=False)
got_request_exception.connect(lambda **_: seen.add("got_request_exception"), weak=False)


class Response(StreamingHttpResponse):
    def close(self):
        seen.add("close")
        super().close()


async def pieces(raises):
    yield b"one"
    if raises:
        raise ValueError("in the middle")


urlpatterns = [
    path("good", lambda request: Response(pieces(False))),
    path("bad", lambda request: Response(pieces(True))),
]


async def ask(where):
    seen.clear()
    waiting = asyncio.Event()
    first = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if first:
            return first.pop()
        await waiting.wait()

    async def send(message):
        pass

    scope = {"type": "http", "method": "GET", "path": where, "headers": [], "query_string": b""}
    try:
        await get_asgi_application()(scope, receive, send)
    except ValueError:
        pass
    return " ".join(sorted(seen)) or "nothing"


print("good:", asyncio.run(ask("/good")))
print("bad:", asyncio.run(ask("/bad")))
PY
seen=$(cd "$work" && "$work/venv/bin/python" seen.py)
echo "$seen"
[ "$seen" = $'good: close request_finished\nbad: nothing' ] || { echo 'It has changed.'; exit 1; }
