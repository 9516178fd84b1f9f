"""A site of several tenants, each in a schema of its own, by the package django-tenants."""
