"""Sanitising a request's scope: some servers pass on bytes that Django or PostgreSQL rejects."""

import re
from typing import Any

_QUOTED_NUL = rb"\000"
"""A NUL byte as a quoted cookie spells it."""
_NON_ASCII = re.compile(rb"[\x80-\xff]")


def sanitized_scope(scope: dict[str, Any]) -> dict[str, Any]:
    """The scope with a query that is valid UTF-8 and with no NUL in its cookies.

    A query that is not UTF-8 makes Django answer with an error page, before any view, and log a
    traceback. Percent-encoded, the same bytes mean the same, and the view explains the error.

    A NUL in a cookie is an error in PostgreSQL, which stores none, and would look like a fault of
    this service.
    """
    headers = scope.get("headers", ())
    for name, value in headers:
        if name == b"cookie" and (_QUOTED_NUL in value or b"\0" in value):
            scope = {**scope, "headers": [_without_nul(*header) for header in headers]}
            break
    query: bytes = scope.get("query_string", b"")
    if query.isascii():
        return scope
    try:
        query.decode()
    except UnicodeDecodeError:
        return {**scope, "query_string": _NON_ASCII.sub(_percent_encoded, query)}
    return scope


def _without_nul(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name == b"cookie":
        value = value.replace(_QUOTED_NUL, b"?").replace(b"\0", b"?")
    return name, value


def _percent_encoded(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
