"""The application of the inbox, known to Django as `carillon_inbox`."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules

KINDS_MODULE = "kinds"
"""The module of an application that declares the kinds of its notifications."""


class InboxConfig(AppConfig):
    name = "notifications.inbox"
    label = "carillon_inbox"
    verbose_name = "Inbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from notifications.inbox import completion  # once models are loaded
        from notifications.inbox.channels import Channel
        from notifications.inbox.delivery import senders
        from notifications.inbox.delivery.email import EmailSender
        from notifications.inbox.events import INBOX_TYPE
        from notifications.inbox.push.sender import PushSender
        from notifications.publishing.outbox.completion import register

        register(INBOX_TYPE, completion.complete)
        senders.register(Channel.EMAIL, EmailSender)
        senders.register(Channel.PUSH, PushSender)
        autodiscover_modules(KINDS_MODULE)
