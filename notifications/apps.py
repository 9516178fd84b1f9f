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
        from notifications.access.identities import logins
        from notifications.hub import page_cursor, past_controls, primary, reports, runtime
        from notifications.publishing.outbox.relay_threads import relay_in_process

        _add(relay_in_process, to=runtime.services)
        _add(primary.distrust_the_past, to=runtime.services)
        _add(page_cursor.follow_log, to=runtime.services)
        _add(reports.report_streams, to=runtime.services)
        _add(primary.remember_subjects, to=runtime.control_observers)
        _add(reports.on_control, to=runtime.control_observers)
        _add(row_signals.on_control, to=runtime.control_observers)
        _add(logins.changes.observe, to=runtime.control_observers)
        _add(logins.changes.observe_past, to=past_controls.observers)
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


def _add[T](item: T, *, to: list[T]) -> None:
    """Django calls `ready` again when INSTALLED_APPS changes, as a test may override it."""
    if item not in to:
        to.append(item)
