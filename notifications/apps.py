"""The application, known to Django as `carillon`."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings

from notifications import redaction

EVENTSTREAM = "notifications.compat.eventstream"


class CarillonConfig(AppConfig):
    name = "notifications"
    label = "carillon"
    verbose_name = "Carillon"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from notifications import checks, receivers  # noqa: F401 - once models are loaded

        redaction.install()
        receivers.connect()
        if getattr(settings, "EVENTSTREAM_STORAGE_CLASS", "").startswith(EVENTSTREAM):
            # Also where nothing is sent nor served, and a permission is ended.
            import_module(EVENTSTREAM)
