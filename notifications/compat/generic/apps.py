"""The application that registers the channel. Put it after `generic_notifications`."""

from importlib import import_module

from django.apps import AppConfig

CHANNEL = "notifications.compat.generic.channel"


class GenericConfig(AppConfig):
    name = "notifications.compat.generic"
    label = "carillon_generic"
    verbose_name = "Inbox of generic notifications"

    def ready(self) -> None:
        import_module(CHANNEL)  # once models are loaded
