"""The project with a database in which a router allows none of the tables."""

from config.settings import *  # noqa: F403


class NoTables:
    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return False


DATABASE_ROUTERS = ["tests.harness.no_tables_settings.NoTables"]
