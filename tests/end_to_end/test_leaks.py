"""No credentials of any kind, good or bad, are in any response or log."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notifications.access.identities.signed_links import events_url
from tests.harness.event_source import Stream
from tests.harness.servers import (
    PUBLISH_KEY,
    RedisServer,
    WebServer,
    environment,
    migrate,
    uvicorn,
)
from tests.harness.tokens import AUDIENCE, ISSUER, SECRET, claims, forge_token, token
from tests.harness.warm import run_python

SETTINGS: Any = {
    "CARILLON_QUERY_TOKENS": "1",
    "CARILLON_JWT_SECRET": SECRET,
    "CARILLON_JWT_AUDIENCE": AUDIENCE,
    "CARILLON_JWT_ISSUER": ISSUER,
}
MAKE = """
import json, django
django.setup()
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from notifications.access.identities import api_keys
from notifications.models import ApiKey
user = User.objects.create_superuser("ada")
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
key = ApiKey(name="a", subscribe=["orders"], publish=["orders"])
text = api_keys.issue(key)
key.save()
print(json.dumps([session.session_key, text]))
"""
WRONG_KEY = "crl_abcdefgh_" + "a1B2" * 10 + "xyz"
FORGED_SESSION = "f0rg3d" * 5
BODY = json.dumps({"topic": "orders.1", "data": "x"}).encode()


@pytest.fixture(scope="module")
def made(
    session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[WebServer, str, str]]:
    """A server, the key of a session, and an API key."""
    folder: Path = tmp_path_factory.mktemp("leaks")
    migrate(folder)
    variables = environment(session_redis.url, folder, SETTINGS)
    done = run_python("-c", MAKE, env=variables, timeout=30)
    assert done.returncode == 0, done.stderr
    session, key = json.loads(done.stdout)
    with uvicorn(session_redis.url, folder, **SETTINGS) as server:
        yield server, session, key


async def test_no_secret_is_in_any_response_or_log(
    made: tuple[WebServer, str, str],
) -> None:
    server, session, key = made
    scope = {"subscribe": ["orders"], "publish": ["orders"]}
    good = token(header={"kid": "default"}, carillon=scope)
    header = {"alg": "HS256", "kid": "default", "typ": "JWT"}
    bad = forge_token(header, claims(), "another secret" * 3)
    link = events_url("orders.1").partition("link=")[2]
    bearers = [key, WRONG_KEY, f"{key}x", PUBLISH_KEY, f"{PUBLISH_KEY}x", good, bad]
    shown: list[tuple[str, dict[str, str]]] = []
    shown += [("", {"Authorization": f"Bearer {each}"}) for each in bearers]
    shown += [("", {"Authorization": f"Basic {WRONG_KEY}"}), ("", {"Authorization": WRONG_KEY})]
    shown += [(f"&token={each}", {}) for each in bearers]
    shown += [(f"&link={each}", {}) for each in (link, f"{link}x", link[1:])]
    shown += [("", {"Cookie": f"sessionid={each}"}) for each in (session, FORGED_SESSION)]
    answered = []
    for query, headers in shown:
        for method, path, body in (
            ("HEAD", "/events/?topic=orders.1", None),
            ("GET", "/events/?topic=elsewhere", None),
            ("POST", "/publish/?a=b", BODY),
            ("POST", "/publish/?a=b", b"{"),
            ("GET", "/nowhere?a=b", None),
        ):
            sent = {**headers, "Content-Type": "application/json", "Accept": "*/*"}
            answered.append(server.request(method, path + query, body=body, headers=sent))
        path = f"/events/?topic=orders.1&since=all{query}"
        async with Stream(server.port, path, headers=headers) as stream:
            answered.append((stream.status, stream.headers, await stream.read()))
    statuses = {status for status, _, _ in answered}
    assert {200, 201, 400, 401, 403, 404} <= statuses
    assert not any(status >= 500 for status in statuses)
    everything = repr(answered) + server.log.read_text()
    assert "publish.accepted by=key:" in everything
    secrets = [key[13:], WRONG_KEY[13:], PUBLISH_KEY, session, FORGED_SESSION, SECRET]
    secrets += [good.split(".")[2], bad.split(".")[2], link.partition("%3A")[2] or link]
    assert [secret for secret in secrets if secret in everything] == []
