"""The project's settings with `inbox_site` as its URLs, in the language that a browser asks for.

`TOKENS` says where the site keeps its CSRF tokens, if not in a cookie that scripts may read, and
`MAIL_PORT` where its mail server is.
"""

import os

from config.settings import *  # noqa: F403
from config.settings import CARILLON, MIDDLEWARE
from tests.harness.mail_server import mail_settings

CARILLON = {**CARILLON, "SITE_URL": "https://shop.example"}
ROOT_URLCONF = "tests.harness.inbox_site"
MIDDLEWARE = [*MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
if "MAIL_PORT" in os.environ:
    globals().update(mail_settings(int(os.environ["MAIL_PORT"])))
CSRF_USE_SESSIONS = os.environ.get("TOKENS") == "session"
CSRF_COOKIE_HTTPONLY = os.environ.get("TOKENS") == "hidden cookie"
