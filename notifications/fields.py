"""A column for a list of texts."""

import json
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import models

if TYPE_CHECKING:
    ListField = models.Field[list[str], list[str]]
else:  # which is generic in its stubs alone
    ListField = models.Field


class TextListField(ListField):
    """Kept as JSON, in any database.

    Not a `JSONField`: where SQLite is the database, its system check opens that at every start.
    """

    def get_internal_type(self) -> str:
        return "TextField"

    def from_db_value(self, value: str, *_: Any) -> Any:
        return json.loads(value)

    def get_prep_value(self, value: Any) -> str:
        return json.dumps(value)

    def to_python(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError:
            raise ValidationError("This is not a list in JSON.") from None

    def value_to_string(self, obj: models.Model) -> str:
        return self.get_prep_value(self.value_from_object(obj))
