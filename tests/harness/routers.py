"""Database routers whose replica does not exist, so that whatever is read there fails the test."""

from typing import Any

REPLICA = "replica"
PRIMARY = "default"


class AllReads:
    def db_for_read(self, model: type[Any], **_: Any) -> str | None:
        del model
        return REPLICA

    def db_for_write(self, model: type[Any], **_: Any) -> str | None:
        del model
        return PRIMARY


class ReadsOfKeys(AllReads):
    """Everything but our API keys is read as usual."""

    def db_for_read(self, model: type[Any], **_: Any) -> str | None:
        return REPLICA if model._meta.label == "carillon.ApiKey" else None


class OneDatabase(AllReads):
    """Routes reads, and all to the primary: a site whose replica is away for the moment."""

    def db_for_read(self, model: type[Any], **_: Any) -> str | None:
        del model
        return PRIMARY
