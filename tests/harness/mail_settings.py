"""The project's settings with `mail_site`, and the mail server whose port is `MAIL_PORT`."""

import os

import django
import pymysql

from config.settings import *  # noqa: F403

pymysql.install_as_MySQLdb()
INSTALLED_APPS = [*INSTALLED_APPS, "tests.harness.mail_site"]  # noqa: F405
DEFAULT_FROM_EMAIL = "Shop <shop@shop.example>"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"OPTIONS": {"host": "127.0.0.1", "port": int(os.environ["MAIL_PORT"])}}}
else:
    EMAIL_HOST, EMAIL_PORT = "127.0.0.1", int(os.environ["MAIL_PORT"])
