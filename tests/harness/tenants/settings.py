"""The project's settings for a site of several tenants.

Without `TENANTS_APART` (the value of `CARILLON["NAMESPACE"]`) they are as a site has them that was
not told of this.
"""

import os

from config.settings import *  # noqa: F403

DATABASES["default"]["ENGINE"] = "django_tenants.postgresql_backend"  # noqa: F405
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
INSTALLED_APPS = ["django_tenants", "tests.harness.tenants", *INSTALLED_APPS]  # noqa: F405
SHARED_APPS = INSTALLED_APPS
TENANT_APPS = [app for app in SHARED_APPS if app.startswith(("django.contrib.", "notifications."))]
if os.environ.get("USERS_ARE_SHARED"):
    TENANT_APPS = [app for app in TENANT_APPS if app.startswith("notifications.")]
if os.environ.get("ONLY_IN_TENANTS"):
    SHARED_APPS = [app for app in SHARED_APPS if not app.startswith("notifications.")]
TENANT_MODEL = "tenants.Tenant"
TENANT_DOMAIN_MODEL = "tenants.Domain"
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware", *MIDDLEWARE]  # noqa: F405
ALLOWED_HOSTS = [".tenants.example", "localhost", "127.0.0.1"]
CARILLON |= {"SHARED_TOPICS": ["everywhere"]}  # noqa: F405
if namespace := os.environ.get("TENANTS_APART"):
    CARILLON |= {"NAMESPACE": namespace}
elif os.environ.get("SILENCE") != "0":
    SILENCED_SYSTEM_CHECKS += ["carillon.E005"]  # noqa: F405
