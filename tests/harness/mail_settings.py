"""The project's settings with `mail_site`, and the mail server whose port is `MAIL_PORT`."""

import os

import pymysql

from config.settings import *  # noqa: F403
from tests.harness.mail_server import mail_settings

pymysql.install_as_MySQLdb()
INSTALLED_APPS = [*INSTALLED_APPS, "tests.harness.mail_site"]  # noqa: F405
DEFAULT_FROM_EMAIL = "Shop <shop@shop.example>"
globals().update(mail_settings(int(os.environ["MAIL_PORT"])))
