"""One origin that a test may kill, and before it each proxy with the documented configuration."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.browser.conftest import browser, browsers, playwright, pytest_itemcollected
from tests.harness.proxies import Proxy, trusting_anybody
from tests.harness.servers import daphne, migrate, redis_server
from tests.proxies.documented import DOCUMENTED, KEEPS_ERRORS
from tests.proxies.origin import Origin

__all__ = ["browser", "browsers", "playwright", "pytest_itemcollected"]

DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.05
REFUSED = (401, 403)

SETTINGS = {"CARILLON_CORS_ALLOWED_ORIGINS": "https://app.example.com"}
"""Keep-alives are as rare as by default: a test of a quiet stream needs them to be."""


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


@pytest.fixture(params=list(DOCUMENTED))
def proxy(proxies: dict[str, Proxy], request: pytest.FixtureRequest) -> Proxy:
    """A proxy that has noticed that the origin is back, which an earlier test may have killed."""
    proxy = proxies[request.param]
    wait_for_origin(proxy)
    return proxy


@pytest.fixture(params=[name for name in DOCUMENTED if name != KEEPS_ERRORS])
def coming_back(proxies: dict[str, Proxy], request: pytest.FixtureRequest) -> Proxy:
    """One of those proxies that make clients retry while the origin is away."""
    proxy = proxies[request.param]
    wait_for_origin(proxy)
    return proxy


def wait_for_origin(proxy: Proxy) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    with httpx.Client(verify=trusting_anybody(), timeout=DEADLINE_SECONDS, trust_env=False) as http:
        # The origin refuses it; without the origin, the proxy answers by itself.
        while http.get(f"{proxy.url}/events/?topic=secret").status_code not in REFUSED:
            assert time.monotonic() < deadline
            time.sleep(POLL_SECONDS)
