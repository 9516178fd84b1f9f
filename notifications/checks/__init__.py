"""System checks, tagged `carillon`. The ids are permanent; docs/install.md lists the checks."""

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
    tenants,
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
    "tenants",
]
