"""A request as Django can read it, where a server let through what it cannot."""

import re
from typing import Any

_NUL = rb"\000"
"""As a quoted cookie has it."""
_RAW = re.compile(rb"[\x80-\xff]")


def readable(scope: dict[str, Any]) -> dict[str, Any]:
    """With the query escaped, where it is not UTF-8 as it is, and without NUL in cookies.

    Of the one Django would answer with a page, before any view, and log a traceback. Escaped, the
    bytes mean the same, and the view says what is wrong. The other is an error in PostgreSQL, which
    holds no NUL, and would be taken for one of ours.
    """
    headers = scope.get("headers", ())
    for name, value in headers:
        if name == b"cookie" and (_NUL in value or b"\0" in value):
            scope = {**scope, "headers": [_without_nul(*each) for each in headers]}
            break
    query: bytes = scope.get("query_string", b"")
    if query.isascii():
        return scope
    try:
        query.decode()
    except UnicodeDecodeError:
        return {**scope, "query_string": _RAW.sub(_escaped, query)}
    return scope


def _without_nul(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name == b"cookie":
        value = value.replace(_NUL, b"?").replace(b"\0", b"?")
    return name, value


def _escaped(raw: re.Match[bytes]) -> bytes:
    return b"%%%02X" % raw[0][0]
