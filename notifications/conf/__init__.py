"""The settings: the dict `CARILLON`, and the parsers of its values."""

from notifications.conf.settings import Settings, get_settings

__all__ = ["Settings", "get_settings"]
