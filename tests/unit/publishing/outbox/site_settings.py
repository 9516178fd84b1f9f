"""The project's settings, with a test's settings of the outbox."""

import json
import os

import pymysql

from config.settings import *  # noqa: F403

pymysql.install_as_MySQLdb()
CARILLON |= json.loads(os.environ["OUTBOX_SETTINGS"])  # noqa: F405
# The processes of these tests serve no requests, and start faster without these.
INSTALLED_APPS = [app for app in INSTALLED_APPS if app not in ("daphne", "channels")]  # noqa: F405
