from config.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework", "knox", "tests.harness.knox_site"]  # noqa: F405
KNOX_TOKEN_MODEL = "knox_site.OwnToken"
