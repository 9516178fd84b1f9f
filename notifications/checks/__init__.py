"""System checks, tagged `carillon`. Their ids are permanent; docs/install.md lists them."""

from notifications.checks import (
    access,
    database,
    middleware,
    neighbours,
    outbox,
    redis,
    servers,
    serving,
    settings,
)

__all__ = [
    "access",
    "database",
    "middleware",
    "neighbours",
    "outbox",
    "redis",
    "servers",
    "serving",
    "settings",
]
