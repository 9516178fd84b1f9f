"""Carillon in Django's admin: API keys, the operator's page, and the outbox."""

from notifications.admin import keys, operations, outbox

__all__ = ["keys", "operations", "outbox"]
