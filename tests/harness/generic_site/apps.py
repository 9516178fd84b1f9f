from django.apps import AppConfig


class GenericSiteConfig(AppConfig):
    name = "tests.harness.generic_site"

    def ready(self) -> None:
        from tests.harness.generic_site import types  # noqa: F401 - registers them
