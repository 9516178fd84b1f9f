"""The project below /app."""

from config.settings import *  # noqa: F403

FORCE_SCRIPT_NAME = "/app"
