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
        from notifications.access import row_signals, session_signals
        from notifications.hub import primary, runtime
        from notifications.publishing.outbox.relay_threads import relay_in_process

        runtime.services += [relay_in_process, primary.distrust_the_past]
        runtime.control_observers.append(primary.remember_subjects)
        redaction.install()
        row_signals.connect()
        session_signals.connect()
        if getattr(settings, "EVENTSTREAM_STORAGE_CLASS", "").startswith(EVENTSTREAM):
            # A process that ends a permission kicks streams, even if it never sends nor serves, and
            # only the import makes a kick of django-eventstream reach our log.
            import_module(EVENTSTREAM)
