"""The project's settings, with debug lines logged."""

from typing import Any

from config.settings import *  # noqa: F403
from config.settings import LOGGING

loggers: Any = LOGGING["loggers"]
loggers["carillon"]["level"] = "DEBUG"
