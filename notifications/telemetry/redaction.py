"""Removes keys, tokens, links and sessions from log lines about requests."""

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
# Secrets anywhere else: a key of ours, a JSON web token, and the credentials after a scheme.
_CREDENTIALS = re.compile(
    r"(?P<key>crl_[a-z0-9]{8}_)[A-Za-z0-9]+"
    r"|(?P<token>(?<![\w-])eyJ)[\w-]{4,}\.[\w-]+\.[\w-]*"
    r"|(?P<scheme>\b(?:Bearer|Basic) )[!-~]+",
    re.ASCII | re.IGNORECASE,
)

_PREFIXES = ("crl_", "eyj", "bearer ", "basic ")

# Loggers of servers and libraries that write the targets of requests.
ACCESS_LOGGERS = (
    *("uvicorn.access", "uvicorn.error", "gunicorn.access", "hypercorn.access", "_granian.access"),
    *("django.server", "django.channels.server", "django.request", "carillon", "carillon.audit"),
)


def redacted(text: str) -> str:
    """A URL, a query or a log line, with every secret in it replaced by an ellipsis."""
    if "=" in text:
        text = _PARAMETER.sub(_without_value, text)
    lower = text.lower()
    if any(map(lower.__contains__, _PREFIXES)):
        text = _CREDENTIALS.sub(_without_credentials, text)
    return text


def _without_value(match: re.Match[str]) -> str:
    name = match["name"]
    name = unquote_plus(name) if "%" in name or "+" in name else name
    if name.lower() not in SECRET_PARAMETERS:
        return match[0]
    return f"{match['before']}{match['name']}={REDACTED}"


def _without_credentials(match: re.Match[str]) -> str:
    return f"{match['key'] or match['token'] or match['scheme']}{REDACTED}"


class RedactedText(str):
    """The fields of a log line, which were redacted one by one: nobody need search them again."""

    __slots__ = ()


class Redacting(logging.Filter):
    """Passes every record, with its message and arguments redacted."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _is_redacted(record):
            return True
        # The arguments keep their order, since uvicorn's formatter reads them by index.
        if isinstance(record.args, tuple):
            record.args = tuple(map(_redacted_value, record.args))
        elif record.args:
            record.args = {name: _redacted_value(value) for name, value in record.args.items()}
        with suppress(KeyError, TypeError, ValueError):  # logging itself reports these
            message = record.getMessage()
            if (clean := redacted(message)) != message:
                record.msg, record.args = clean, ()
        return True


def _is_redacted(record: logging.LogRecord) -> bool:
    """Whether it is the name of one of our log events, and its fields."""
    match record.msg, record.args:
        case str(template), (RedactedText(),):
            return template.endswith("%s")
    return False


def _redacted_value(value: object) -> object:
    return redacted(value) if isinstance(value, str) else value


_filter = Redacting()


def install() -> None:
    """Add the filter to the access loggers. Idempotent: calling it again has no effect."""
    for name in ACCESS_LOGGERS:
        logging.getLogger(name).addFilter(_filter)
