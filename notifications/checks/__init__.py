"""System checks, tagged `carillon`. The ids are permanent; docs/install.md lists the checks."""

from notifications.checks import (
    access,
    base,
    database,
    inbox,
    middleware,
    outbox,
    packages,
    redis,
    redis_server,
    servers,
    serving,
    tenants,
)

__all__ = [
    "access",
    "base",
    "database",
    "inbox",
    "middleware",
    "outbox",
    "packages",
    "redis",
    "redis_server",
    "servers",
    "serving",
    "tenants",
]
