"""The project's settings, with a bound of publishing that a test of an outage can wait for."""

from config.settings import *  # noqa: F403
from config.settings import CARILLON

CARILLON |= {"PUBLISH_TIMEOUT": 1}
