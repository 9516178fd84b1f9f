"""What a record of the log says, for those who keep logs as JSON: its event, fields and request.

Our lines are `name.of.event key=value …`, made of a template and its arguments; so what they say
can be told from these, and no line has to be written twice.
"""

import logging
import re

from notifications.request_ids import current

_EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)+(?=$|[ :])")
_FIELD = re.compile(r"(?:(\w+)=)?%[-+ #0]*(?:\d+|\*)?(?:\.\d+)?[a-zA-Z]")


class Structured(logging.Filter):
    """Adds `event`, `fields` and `request_id` to whatever comes by; audits have the first two."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current.get()
        if record.name.partition(".")[0] == "carillon" and not hasattr(record, "event"):
            found = _EVENT.match(str(record.msg))
            record.event = found[0] if found else None
            record.fields = _fields(record)
        return True


class Briefly(logging.Filter):
    """For a logger of refusals that anybody can bring about: a warning, without a traceback.

    Django logs each request for a host that is not ours as an error of ours.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def _fields(record: logging.LogRecord) -> dict[str, object]:
    names = _FIELD.findall(str(record.msg))
    values = record.args if isinstance(record.args, tuple) else ()
    if len(names) != len(values):
        return {}
    pairs = zip(names, values, strict=True)
    return {name: _plain(value) for name, value in pairs if name}


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str) else str(value)
