"""The tests' settings, with a view that returns a stream on Django's own path."""

from tests.settings import *  # noqa: F403

ROOT_URLCONF = "tests.harness.memory_urls"
