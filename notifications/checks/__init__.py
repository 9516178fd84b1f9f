"""System checks, tagged `carillon`. Their ids are permanent; docs/install.md lists them."""

from notifications.checks import neighbours, redis, serving, settings

__all__ = ["neighbours", "redis", "serving", "settings"]
