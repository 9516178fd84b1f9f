"""System checks, tagged `carillon`. Their ids are permanent; docs/install.md lists them."""

from notifications.checks import access, neighbours, redis, serving, settings

__all__ = ["access", "neighbours", "redis", "serving", "settings"]
