"""The project's settings, with a write deadline that a test can await, and debug lines logged."""

from typing import Any

from config.settings import *  # noqa: F403
from config.settings import CARILLON, LOGGING

CARILLON |= {"WRITE_DEADLINE": 3}
loggers: Any = LOGGING["loggers"]
loggers["carillon"]["level"] = "DEBUG"
