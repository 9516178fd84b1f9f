#!/usr/bin/env bash
# PyMySQL 1.2.4: each connection loads the certificates of all authorities, although it verifies none.
#
# Expected: a client that was asked for no TLS makes no TLS context; and one that prefers TLS, where the
# server has it, makes a context when the server has said so, or once for all connections.
# Seen: the constructor makes a context, before the server is asked and for each connection, with the
# system's authorities in it (as ssl.create_default_context() does), and then switches verification off. That
# is 20 to 30 ms of CPU, many times the rest of a connection to a server without TLS. Django
# closes its connection after each request unless CONN_MAX_AGE is set.
# We: name ssl_disabled in the URL of the tests' MariaDB (tests/harness/mariadb.py).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(for each in python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[23]*/bin/python; do
  "$each" -c 'print()' >/dev/null 2>&1 && { command -v "$each"; break; }
done)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'PyMySQL==1.2.4' ||
  { echo 'The packages cannot be installed.'; exit 2; }
cat >"$work/seen.py" <<'PY'
import ssl
import sys
import time

import pymysql

CONNECTIONS = 20
loaded: list[object] = []
load = ssl.SSLContext.load_default_certs


def noted(context: ssl.SSLContext, *arguments: object) -> None:
    loaded.append(context)
    load(context, *arguments)


ssl.SSLContext.load_default_certs = noted


def milliseconds(**options: bool) -> float:
    """CPU of a connection that is only made, and not opened: no server has been asked anything."""
    before = time.process_time()
    made = [pymysql.connect(defer_connect=True, **options) for _ in range(CONNECTIONS)]
    spent = time.process_time() - before
    assert not any(each.open for each in made)
    return 1000 * spent / CONNECTIONS


usual = milliseconds()
loads = len(loaded)
without = milliseconds(ssl_disabled=True)
verifies = pymysql.connect(defer_connect=True).ctx.verify_mode is not ssl.CERT_NONE
print(f"{CONNECTIONS} connections load the authorities {loads} times, {usual:.1f} ms of CPU for each")
print(f"with ssl_disabled: {len(loaded) - loads - 1} times, {without:.2f} ms; verified: {verifies}")
sys.exit(not (loads == CONNECTIONS and not verifies and usual > 10 * without))
PY
"$work/venv/bin/python" "$work/seen.py"
