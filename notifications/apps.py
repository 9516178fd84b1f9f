"""The application, known to Django as `carillon`."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings

from notifications.telemetry import redaction

EVENTSTREAM = "notifications.compat.eventstream"


class CarillonConfig(AppConfig):
    name = "notifications"
    label = "carillon"
    verbose_name = "Carillon"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from notifications import checks  # noqa: F401 - registers the checks, once models are loaded
        from notifications.access import signals
        from notifications.hub import runtime
        from notifications.publishing.outbox.relay_threads import relay_in_process

        runtime.services.append(relay_in_process)
        redaction.install()
        signals.connect()
        if getattr(settings, "EVENTSTREAM_STORAGE_CLASS", "").startswith(EVENTSTREAM):
            # A process that ends a permission kicks streams, even if it never sends nor serves, and
            # only the import makes a kick of django-eventstream reach our log.
            import_module(EVENTSTREAM)
