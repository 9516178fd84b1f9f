"""Settings of the log for the tests of publishing."""

from typing import Any

from pytest_django import Settings as DjangoSettings

from tests.harness.servers import free_port


def use_redis(settings: DjangoSettings, url: str | None = None, **more: Any) -> None:
    """Use the Redis at this URL; without one, a port on which nothing listens."""
    url = url or f"redis://127.0.0.1:{free_port()}/0"
    settings.CARILLON = {**settings.CARILLON, "LOG": "redis", "REDIS_URL": url, **more}
