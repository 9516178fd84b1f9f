"""The project's settings, with what a test says of the outbox."""

import json
import os

from config.settings import *  # noqa: F403

CARILLON |= json.loads(os.environ["OUTBOX_SETTINGS"])  # noqa: F405
# What relays and writes serves nobody, and starts faster without.
INSTALLED_APPS = [app for app in INSTALLED_APPS if app not in ("daphne", "channels")]  # noqa: F405
