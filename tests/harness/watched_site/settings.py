"""The tests' settings, with the documented lines of a watcher at the end."""

from tests.harness.watched_site import WATCHER, run_documented
from tests.settings import *  # noqa: F403

MIDDLEWARE = ["tests.harness.watched_site.views.MarkRequest", *MIDDLEWARE]  # noqa: F405
ROOT_URLCONF = "tests.harness.watched_site.urls"
LOGGING = {}

SETTINGS_OF = {
    "sentry": "settings.py (Sentry)",
    "sentry-synchronous": "settings.py (Sentry)",
    "elastic-app": "settings.py (Elastic APM)",
}
if WATCHER in SETTINGS_OF:
    run_documented(SETTINGS_OF[WATCHER], globals())
if WATCHER.endswith("synchronous"):
    MIDDLEWARE += ["tests.harness.watched_site.views.synchronous"]
