"""Carillon in Django's admin, if the site has one: API keys, the operator's page, the outbox."""

from django.apps import apps

if apps.is_installed("django.contrib.admin"):
    from notifications.admin import keys, operations, outbox

    __all__ = ["keys", "operations", "outbox"]
