"""A site with Django REST framework, its tokens, and django-ninja."""

from config.settings import *  # noqa: F403

INSTALLED_APPS = [
    *INSTALLED_APPS,  # noqa: F405
    "rest_framework",
    "rest_framework.authtoken",
    "knox",
    "rest_framework_simplejwt.token_blacklist",
]
SIMPLE_JWT = {
    "AUTH_TOKEN_CLASSES": [
        "rest_framework_simplejwt.tokens.AccessToken",
        "rest_framework_simplejwt.tokens.SlidingToken",
    ],
}
ROOT_URLCONF = "tests.harness.framework_site.urls"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = False
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Without a short time, only what happens at once is seen by a test.
CARILLON = {**CARILLON, "GRANT_MAX_AGE": 600}  # noqa: F405
# Their tables are made as they are now, which is faster than their twenty migrations.
MIGRATION_MODULES = {"knox": None, "token_blacklist": None}
