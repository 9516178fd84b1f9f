"""The project's settings, with a view that tells what a process holds for streams."""

from config.settings import *  # noqa: F403

ROOT_URLCONF = "tests.harness.memory_urls"
