"""The project's settings, with a publish timeout that a test of an outage can await."""

from config.settings import *  # noqa: F403
from config.settings import CARILLON

CARILLON |= {"PUBLISH_TIMEOUT": 1}
