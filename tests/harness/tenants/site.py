"""Two tenants on real servers, with a real PostgreSQL, and a shell beside them."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from notifications.sse import CONTENT_TYPE
from tests.end_to_end.shell import SHELL, Shell
from tests.harness.event_source import Stream
from tests.harness.postgresql import postgresql
from tests.harness.servers import (
    PUBLISH_KEY,
    SERVERS,
    WebServer,
    environment,
    redis_server,
)
from tests.harness.tokens import AUDIENCE, ISSUER, SECRET
from tests.harness.warm import python_process, run_python

ONE, TWO = TENANTS = ("one", "two")
COMMAND_SECONDS = 120.0
NAMESPACE = os.environ.get("TENANTS_APART", "notifications.compat.tenants.schema")
"""Set to an empty text, the tests show what such a site lacks without the setting."""

# Within a schema, the lines of a call are as in any site.
TENANT_SHELL = SHELL.replace(
    "for line in sys.stdin:",
    """
from asgiref.sync import async_to_sync
from django.contrib.auth import logout
from django.db import transaction
from django.http import HttpRequest
from django_tenants.utils import schema_context
import notifications
from notifications import progress, publish, publish_outbox, recheck, user_topic
from notifications.access.identities.signed_links import events_url
from notifications.publishing import control
from tests.harness.tenants.models import Domain, Tenant

def make_tenant(name):
    tenant = Tenant(schema_name=name, name=name)
    tenant.save(verbosity=0)
    Domain.objects.create(domain=f"{name}.tenants.example", tenant=tenant, is_primary=True)

def log_out(key):
    request = HttpRequest()
    request.session = SessionStore(key)
    logout(request)

for line in sys.stdin:""",
)


def host(tenant: str) -> str:
    return f"{tenant}.tenants.example"


@dataclass
class Site:
    servers: list[WebServer]
    shell: Shell
    environment: dict[str, str]
    cookies: dict[str, str] = field(default_factory=dict)

    def within(self, tenant: str, code: str) -> Any:
        """Run code in the schema of a tenant, in a process that is no server."""
        lines = "\n".join(f"    {line}" for line in code.splitlines())
        return self.shell(f"with schema_context({tenant!r}):\n{lines}")

    def log_in(self, tenant: str) -> None:
        """A new session of user 1, which is active."""
        key = self.within(
            tenant,
            "User.objects.filter(pk=1).update(is_active=True)\n"
            "result = log_in(User.objects.get(pk=1))",
        )
        self.cookies[tenant] = f"sessionid={key}"

    async def get(self, tenant: str, path: str, **headers: str) -> tuple[int, str]:
        """The status, and the text of an answer that is no stream."""
        headers = {"Host": host(tenant), "Accept": "*/*", **headers}
        async with Stream(self.servers[0].port, path, headers=headers) as answer:
            text = b""
            if answer.headers["content-type"] != CONTENT_TYPE:
                while piece := await answer.read():
                    text += piece
            return answer.status, text.decode()

    async def publish(
        self, tenant: str, event: Any, *, key: str = PUBLISH_KEY
    ) -> tuple[int, dict[str, Any]]:
        headers = {
            "Host": host(tenant),
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
        }
        status, _, body = await asyncio.to_thread(
            self.servers[0].request,
            "POST",
            "/publish/",
            body=json.dumps(event).encode(),
            headers=headers,
        )
        return status, json.loads(body)

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run_python("manage.py", *arguments, env=self.environment, timeout=COMMAND_SECONDS)


@contextmanager
def tenant_site(folder: Path, **variables: str) -> Iterator[Site]:
    """A site whose settings get these environment variables."""
    with ExitStack() as stack:
        url = stack.enter_context(postgresql())
        redis = stack.enter_context(redis_server(folder / "redis"))
        variables |= {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "tests.harness.tenants.settings",
            "TENANTS_APART": NAMESPACE,
            "CARILLON_ACCESS": "tests.harness.tenants.access.RULES",
            "CARILLON_OUTBOX": "in-process",
            "CARILLON_KEEPALIVE": "1",
            "CARILLON_JWT_SECRET": SECRET,
            "CARILLON_JWT_AUDIENCE": AUDIENCE,
            "CARILLON_JWT_ISSUER": ISSUER,
        }
        site_environment = environment(redis.url, folder / "shell", variables)
        popen = stack.enter_context(
            python_process(
                *("-c", TENANT_SHELL),
                env=site_environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(popen.kill)
        site = Site([], Shell(popen), site_environment)
        migrated = site.manage("migrate_schemas", "--shared", "-v0")
        assert migrated.returncode == 0, migrated.stdout + migrated.stderr
        for tenant in TENANTS:
            site.shell(f"make_tenant({tenant!r})")
            site.within(
                tenant,
                "User.objects.filter(pk=1).exists() or "
                "User.objects.create_user('ada', is_staff=True)\n"
                "assert User.objects.get().pk == 1",
            )
        site.servers += [
            stack.enter_context(SERVERS[kind](redis.url, folder / kind, port=0, **variables))
            for kind in sorted(SERVERS)
        ]
        for server in site.servers:  # start them before the deadline of a test begins
            server.get("/health/live", Host=host(ONE))
        yield site
