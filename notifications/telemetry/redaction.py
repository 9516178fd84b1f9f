"""What a log line may say of a request: no key, token, link or session that it came with."""

import logging
import re
from contextlib import suppress
from urllib.parse import unquote_plus

SECRET_PARAMETERS = frozenset(
    {
        *("link", "token", "access_token", "key", "api_key", "apikey", "authorization"),
        *("password", "secret", "sessionid", "session", "csrfmiddlewaretoken", "signature"),
    }
)
REDACTED = "…"

_PARAMETER = re.compile(
    r"(?P<before>\A|[?&;#\s\"'])(?P<name>[^?&;#=\s\"']+)=(?P<value>[^&;#\s\"']+)"
)
# Wherever else they are: a key of ours, a JSON web token, and what follows a scheme.
_BARE = re.compile(
    r"(?P<key>crl_[a-z0-9]{8}_)[A-Za-z0-9]+"
    r"|(?P<token>(?<![\w-])eyJ)[\w-]{4,}\.[\w-]+\.[\w-]*"
    r"|(?P<scheme>\b(?:Bearer|Basic) )[!-~]+",
    re.ASCII | re.IGNORECASE,
)

_BEGIN = ("crl_", "eyj", "bearer ", "basic ")

# Whatever writes the targets of requests through Python's logging.
ACCESS_LOGGERS = (
    *("uvicorn.access", "uvicorn.error", "gunicorn.access", "hypercorn.access", "_granian.access"),
    *("django.server", "django.channels.server", "django.request", "carillon", "carillon.audit"),
)


def redacted(text: str) -> str:
    """A URL, a query or a line of a log, with every secret in it replaced by an ellipsis."""
    if "=" in text:
        text = _PARAMETER.sub(_without_value, text)
    lower = text.lower()
    return _BARE.sub(_without_bare, text) if any(map(lower.__contains__, _BEGIN)) else text


def _without_value(found: re.Match[str]) -> str:
    name = found["name"]
    name = unquote_plus(name) if "%" in name or "+" in name else name
    if name.lower() not in SECRET_PARAMETERS:
        return found[0]
    return f"{found['before']}{found['name']}={REDACTED}"


def _without_bare(found: re.Match[str]) -> str:
    return f"{found['key'] or found['token'] or found['scheme']}{REDACTED}"


class Redacting(logging.Filter):
    """Lets every record through, as `redacted` has it."""

    def filter(self, record: logging.LogRecord) -> bool:
        # The arguments stay in their places, since uvicorn's formatter reads them by these.
        if isinstance(record.args, tuple):
            record.args = tuple(map(_redacted_value, record.args))
        elif record.args:
            record.args = {name: _redacted_value(each) for name, each in record.args.items()}
        with suppress(KeyError, TypeError, ValueError):  # which logging itself will tell
            message = record.getMessage()
            if (clean := redacted(message)) != message:
                record.msg, record.args = clean, ()
        return True


def _redacted_value(value: object) -> object:
    return redacted(value) if isinstance(value, str) else value


_filter = Redacting()


def install() -> None:
    """Into every logger that writes what was asked for. A second time changes nothing."""
    for name in ACCESS_LOGGERS:
        logging.getLogger(name).addFilter(_filter)
