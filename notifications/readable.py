"""A request as Django can read it, where a server let through what URLs cannot hold."""

import re
from typing import Any

_RAW = re.compile(rb"[\x80-\xff]")


def readable(scope: dict[str, Any]) -> dict[str, Any]:
    """With the query escaped, where it is not UTF-8 as it is.

    Django would answer with a page, before any view, and log a traceback. Escaped, the bytes mean
    the same, and the view says what is wrong.
    """
    query: bytes = scope.get("query_string", b"")
    if query.isascii():
        return scope
    try:
        query.decode()
    except UnicodeDecodeError:
        return {**scope, "query_string": _RAW.sub(_escaped, query)}
    return scope


def _escaped(raw: re.Match[bytes]) -> bytes:
    return b"%%%02X" % raw[0][0]
