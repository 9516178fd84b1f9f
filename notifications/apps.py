"""The application, known to Django as `carillon`."""

from django.apps import AppConfig

from notifications import redaction


class CarillonConfig(AppConfig):
    name = "notifications"
    label = "carillon"
    verbose_name = "Carillon"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from notifications import checks, receivers  # noqa: F401 - once models are loaded

        redaction.install()
        receivers.connect()
