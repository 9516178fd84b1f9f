"""One origin that a test may kill, and before it each proxy with the documented configuration."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.browser.conftest import browser
from tests.harness.proxies import Proxy, trusting_anybody
from tests.harness.servers import daphne, migrate, redis_server, wait_until_ready
from tests.proxies.documented import DOCUMENTED
from tests.proxies.origin import Origin

__all__ = ["browser"]

DEADLINE_SECONDS = 20.0

SETTINGS = {
    "CARILLON_KEEPALIVE": "0.5",
    "CARILLON_CORS_ALLOWED_ORIGINS": "https://app.example.com",
}


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    folder = tmp_path_factory.mktemp("origin")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(folder / "redis"))
        migrate(folder)
        yield Origin(
            lambda port: stack.enter_context(daphne(redis.url, folder, port=port, **SETTINGS)),
            redis.url,
            folder,
        )


@pytest.fixture(scope="package")
def proxies(site: Origin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(start(tmp_path_factory.mktemp(name), site.port))
            for name, start in DOCUMENTED.items()
        }


@pytest.fixture(scope="package")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an origin with the default, long pause between keep-alives."""
    folder = tmp_path_factory.mktemp("quiet")
    with redis_server(folder / "redis") as redis, daphne(redis.url, folder) as server:
        wait_until_ready(server.port)
        yield server.port


@pytest.fixture(params=list(DOCUMENTED))
def proxy(proxies: dict[str, Proxy], request: pytest.FixtureRequest) -> Proxy:
    """A proxy that has noticed that the origin is back, which an earlier test may have killed."""
    proxy = proxies[request.param]
    deadline = time.monotonic() + DEADLINE_SECONDS
    with httpx.Client(verify=trusting_anybody(), timeout=DEADLINE_SECONDS, trust_env=False) as http:
        # The origin refuses it; without the origin, the proxy answers 200 itself.
        while http.get(f"{proxy.url}/events/?topic=secret").status_code == 200:
            assert time.monotonic() < deadline
    return proxy
