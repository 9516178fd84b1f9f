"""The tests' settings, with a view that returns a stream on Django's own path."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import CARILLON

ROOT_URLCONF = "tests.harness.memory_urls"
CARILLON |= {"WRITE_DEADLINE": float(os.environ.get("CARILLON_WRITE_DEADLINE", "30"))}
