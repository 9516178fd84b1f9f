"""One origin that can be lost, and before it each proxy as docs/deploy.md has it."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.browser.conftest import browser
from tests.harness.servers import daphne, migrate, redis_server, wait_until_ready
from tests.proxies.origin import Origin
from tests.proxies.servers import AS_TOLD, Proxy, trusting_anybody

__all__ = ["browser"]

DEADLINE = 20.0

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
            for name, start in AS_TOLD.items()
        }


@pytest.fixture(scope="package")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an origin whose keep-alives are far between, as they are by default."""
    folder = tmp_path_factory.mktemp("quiet")
    with redis_server(folder / "redis") as redis, daphne(redis.url, folder) as server:
        wait_until_ready(server.port)
        yield server.port


@pytest.fixture(params=list(AS_TOLD))
def proxy(proxies: dict[str, Proxy], request: pytest.FixtureRequest) -> Proxy:
    """One that knows of the origin, which was gone in another's test a moment ago."""
    proxy = proxies[request.param]
    deadline = time.monotonic() + DEADLINE
    with httpx.Client(verify=trusting_anybody(), timeout=DEADLINE, trust_env=False) as http:
        # It is refused by the origin, and comforted by the proxy.
        while http.get(f"{proxy.url}/events/?topic=secret").status_code == 200:
            assert time.monotonic() < deadline
    return proxy
