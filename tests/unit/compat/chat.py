"""The chat of docs/examples as processes: before the migration, half-way, and migrated."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from notifications.sse import ServerSentEvent
from tests.harness.event_source import Stream
from tests.harness.servers import ROOT, START_DEADLINE_SECONDS, RedisServer, WebServer, web_server
from tests.harness.warm import run_python

EXAMPLE = ROOT / "docs/examples/eventstream-chat"
SETTINGS, URLS = "chat/settings.py", "chat/urls.py"
# The lines that the migration writes, each with the line that it replaces.
STORAGE = (
    'EVENTSTREAM_STORAGE_CLASS = "notifications.compat.eventstream.Storage"\n',
    'EVENTSTREAM_STORAGE_CLASS = "django_eventstream.storage.DjangoModelStorage"\n',
)
CARILLON = ('CARILLON = {"REDIS_URL": f"redis://127.0.0.1:{REDIS_PORT}/1"}\n', "")
INCLUDE = (
    'EVENTS = "notifications.compat.eventstream"\n',
    'EVENTS = "django_eventstream.urls"\n',
)
STAGES: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    "stock": {SETTINGS: (STORAGE, CARILLON), URLS: (INCLUDE,)},
    "stored": {URLS: (INCLUDE,)},
    "migrated": {},
}

PROBE_URLS = """
from chat.urls import urlpatterns as chat
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django_eventstream import channel_permission_changed, get_current_event_id, send_event

def run(code):
    names = dict(globals())
    exec(code, names)
    return str(names.get("result", ""))

@csrf_exempt
def do(request):
    return HttpResponse(run(request.body.decode()))

urlpatterns = [*chat, path("do/", do)]
"""
PROBE_SETTINGS = """
from chat.settings import *
ROOT_URLCONF = "probe"
if "CARILLON" in globals():
    CARILLON |= {"KEEPALIVE": 0.5, "PUBLISH_TIMEOUT": 15}
"""


@dataclass
class Project:
    folder: Path
    redis: RedisServer
    data: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "probed",
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
            "REDIS_PORT": str(self.redis.port),
            "DATA_DIR": str(self.data),
        }

    def python(self, code: str, **variables: str) -> str:
        """The output of a new process in which only Django is set up."""
        completed = run_python(
            *("-c", f"import django; django.setup()\n{code}"),
            env={**os.environ, **self.environment, **variables},
            timeout=START_DEADLINE_SECONDS,
        )
        assert completed.returncode == 0, completed.stdout + completed.stderr
        return completed.stdout.strip()

    def migrate(self) -> None:
        self.python(
            "from django.core.management import call_command; call_command('migrate', verbosity=0)"
        )

    @contextmanager
    def served(
        self, application: str = "chat.asgi:application", by: str = "uvicorn", port: int = 0
    ) -> Iterator["Site"]:
        command = [by, application]
        command += ["--timeout-graceful-shutdown", "1"] if by == "uvicorn" else ["-v", "0"]
        with web_server(
            command,
            redis_url="",
            folder=self.data / "log",
            port=port,
            settings=self.environment,
        ) as web:
            yield Site(web, self)


def project(folder: Path, stage: str, redis: RedisServer, data: Path) -> Project:
    """A copy of the example at this stage of its migration."""
    shutil.copytree(EXAMPLE, folder)
    for name, replacements in STAGES[stage].items():
        text = (folder / name).read_text()
        for after, before in replacements:
            assert text.count(after) == 1, after
            text = text.replace(after, before)
        (folder / name).write_text(text)
    (folder / "probe.py").write_text(PROBE_URLS)
    (folder / "probed.py").write_text(PROBE_SETTINGS)
    (folder / "handed_off.py").write_text(
        "from notifications.asgi import get_asgi_application\n"
        "application = get_asgi_application()\n"
    )
    return Project(folder, redis, data)


@dataclass
class Site:
    web: WebServer
    project: Project

    async def do(self, code: str) -> str:
        """Run code in a view of the server's process, and return its `result`."""
        status, _, body = await asyncio.to_thread(
            self.web.request, "POST", "/do/", body=code.encode(), headers={"Accept": "text/plain"}
        )
        assert status == 200, body.decode().partition("Request information")[0]
        return body.decode()

    async def send(
        self, channel: str, data: object, type: str = "message", **options: object
    ) -> None:
        arguments = "".join(f", {name}={value!r}" for name, value in options.items())
        await self.do(f"send_event({channel!r}, {type!r}, {data!r}{arguments})")

    def listen(self, path: str, **headers: str) -> Stream:
        return Stream(
            self.web.port,
            path,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    async def log_in(self, name: str) -> str:
        """The session cookie of the user of this name, who is created if need be."""
        key = await self.do(
            "from django.contrib.auth.models import User\n"
            "from django.contrib.sessions.backends.db import SessionStore\n"
            f"user, _ = User.objects.get_or_create(username={name!r})\n"
            "session = SessionStore()\n"
            "session['_auth_user_id'] = str(user.pk)\n"
            "session['_auth_user_backend'] = 'django.contrib.auth.backends.ModelBackend'\n"
            "session['_auth_user_hash'] = user.get_session_auth_hash()\n"
            "session.create()\n"
            "result = session.session_key"
        )
        return f"sessionid={key}"


def channels(*names: str, **parameters: str) -> str:
    query = [("channel", name) for name in names] + list(parameters.items())
    return f"/events/?{urlencode(query)}"


async def next_event(stream: Stream) -> ServerSentEvent:
    """The next event that is no keep-alive."""
    while (event := await stream.next()).type == "keep-alive":
        pass
    return event


async def data_of(stream: Stream, count: int) -> list[str]:
    return [(await next_event(stream)).data for _ in range(count)]
