"""The project, but that it serves nothing but a wire."""

from config.settings import *  # noqa: F403

ASGI_APPLICATION = "tests.harness.transport_site.application"
