"""A site whose sessions are kept by any engine, with django-hijack, django-impersonate, and a
middleware of its own that lets staff act as somebody else.
"""

import os

from config.settings import *  # noqa: F403

SESSION_ENGINE = os.environ.get("SITE_SESSION_ENGINE", "django.contrib.sessions.backends.db")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = False
SESSION_FILE_PATH = DATA_DIR  # noqa: F405
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": os.environ.get("SITE_CACHE", str(DATA_DIR / "cache")),  # noqa: F405
    }
}
INSTALLED_APPS = [*INSTALLED_APPS, "hijack", "impersonate", "user_sessions"]  # noqa: F405
MIDDLEWARE = [
    *MIDDLEWARE,  # noqa: F405
    "hijack.middleware.HijackUserMiddleware",
    "impersonate.middleware.ImpersonateMiddleware",
    "tests.harness.session_site.views.ActAs",
    "tests.harness.session_site.views.trusted_header",
]
if SESSION_ENGINE.startswith("user_sessions"):
    MIDDLEWARE = [
        "user_sessions.middleware.SessionMiddleware"
        if name.endswith(".SessionMiddleware")
        else name
        for name in MIDDLEWARE
    ]
    SILENCED_SYSTEM_CHECKS = ["admin.E410"]
ROOT_URLCONF = "tests.harness.session_site.urls"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
