"""The application, known to Django as `carillon`."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings
from django.core.signals import request_started

from notifications.telemetry import redaction

EVENTSTREAM = "notifications.compat.eventstream"
FRAMEWORKS = "notifications.compat.token_rows"


class CarillonConfig(AppConfig):
    name = "notifications"
    label = "carillon"
    verbose_name = "Carillon"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from notifications import checks  # noqa: F401 - registers the checks, once models are loaded
        from notifications.access import row_signals, session_signals
        from notifications.hub import page_cursor, primary, reports, runtime
        from notifications.publishing.outbox.relay_threads import relay_in_process

        runtime.services += [
            relay_in_process,
            primary.distrust_the_past,
            page_cursor.follow_log,
            reports.report_streams,
        ]
        runtime.control_observers += [primary.remember_subjects, reports.on_control]
        request_started.connect(page_cursor.note_start, dispatch_uid="carillon.cursor")
        redaction.install()
        row_signals.connect()
        session_signals.connect()
        if getattr(settings, "EVENTSTREAM_STORAGE_CLASS", "").startswith(EVENTSTREAM):
            # A process that ends a permission kicks streams, even if it never sends nor serves, and
            # only the import makes a kick of django-eventstream reach our log.
            import_module(EVENTSTREAM)
        # Likewise, a process that deletes a token need not serve.
        import_module(FRAMEWORKS)
