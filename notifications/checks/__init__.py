"""System checks, tagged `carillon`. Their ids are permanent; docs/install.md lists them."""

from notifications.checks import (
    access,
    base,
    database,
    middleware,
    outbox,
    packages,
    redis,
    servers,
    serving,
)

__all__ = [
    "access",
    "base",
    "database",
    "middleware",
    "outbox",
    "packages",
    "redis",
    "servers",
    "serving",
]
