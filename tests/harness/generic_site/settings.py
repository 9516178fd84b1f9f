from config.settings import *  # noqa: F403

INSTALLED_APPS = [
    *INSTALLED_APPS,  # noqa: F405
    "generic_notifications",
    "notifications.compat.generic",
    "tests.harness.generic_site",
]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "site.sqlite3"}  # noqa: F405
}
CARILLON = {"LOG": "memory"}
