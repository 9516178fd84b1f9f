"""The settings: `CARILLON`, and the parts of it that have a form of their own."""

from notifications.conf.settings import Settings, get_settings

__all__ = ["Settings", "get_settings"]
