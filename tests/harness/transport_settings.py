"""The project's settings, with an ASGI application that consists of nothing but a transport."""

from config.settings import *  # noqa: F403

ASGI_APPLICATION = "tests.harness.transport_site.application"
