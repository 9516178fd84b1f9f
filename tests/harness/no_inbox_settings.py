"""The project without the inbox, which uses the outbox."""

from config.settings import *  # noqa: F403

INSTALLED_APPS = [app for app in INSTALLED_APPS if not app.startswith("notifications.inbox")]  # noqa: F405
