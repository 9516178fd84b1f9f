#!/usr/bin/env bash
# PostgreSQL 15 with psycopg 3.3.2: WITH … AS MATERIALIZED (… FOR UPDATE) locks no row before it is read.
#
# Expected: what is MATERIALIZED is computed once and as a whole, so while its statement waits for a
# lock elsewhere, either all of its rows are locked or none is.
# Seen: the same statement holds the lock of one row while it waits, or those of all rows, depending on the
# join that the planner chose: by a nested loop it reads one row, waits, and locks the others only
# afterwards, and by a hash join it has read all. So what can change meanwhile depends on the
# statistics of a table. (The manual says it of every SELECT in a WITH: it runs as far as its output is
# demanded. MATERIALIZED changes nothing of that.)
# We: number notifications by such a statement, which is right with every plan, since a row is looked at
# again when it is locked (notifications/inbox/numbering.py); its test fixes the plan.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null && wait || true; rm -rf "$work"' EXIT
bin=$(compgen -G '/usr/lib/postgresql/15/bin' || true)
[ -n "$bin" ] || { echo 'This needs PostgreSQL 15 (Debian: postgresql).'; exit 2; }
python=$(for each in python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[23]*/bin/python; do
  "$each" -c 'print()' >/dev/null 2>&1 && { command -v "$each"; break; }
done)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]==3.3.2' ||
  { echo 'The packages cannot be installed.'; exit 2; }
as=() # PostgreSQL refuses to run as root
[ "$(id -u)" != 0 ] || { as=(setpriv --reuid=nobody --regid=nogroup --clear-groups); chmod 755 "$work"; }
mkdir "$work/data" "$work/socket"
[ "$(id -u)" != 0 ] || chown nobody "$work/data" "$work/socket"
(cd / && "${as[@]}" "$bin/initdb" -D "$work/data" -U finding -A trust >"$work/initdb.log" 2>&1) ||
  { cat "$work/initdb.log"; exit 2; }
(cd / && exec "${as[@]}" "$bin/postgres" -D "$work/data" -k "$work/socket" -c listen_addresses= \
  >"$work/server.log" 2>&1) &
cat >"$work/seen.py" <<'PY'
import sys
import threading
import time

import psycopg

ADDRESS = f"host={sys.argv[1]} user=finding dbname=postgres"
STATEMENT = """
WITH free AS MATERIALIZED (SELECT id FROM job WHERE number IS NULL FOR UPDATE),
last AS (UPDATE counter SET value = value + 6 WHERE EXISTS (SELECT FROM free) RETURNING value)
UPDATE job SET number = (SELECT value FROM last) FROM free WHERE job.id = free.id
"""


def connected():
    for _ in range(300):
        try:
            return psycopg.connect(ADDRESS, autocommit=True)
        except psycopg.OperationalError:
            time.sleep(0.1)
    sys.exit(2)


def rows_locked(*forbidden):
    """How many of six rows the statement has locked while it waits for the counter."""
    with connected() as other, connected() as waiting, connected() as looking:
        other.execute("DROP TABLE IF EXISTS job, counter")
        other.execute("CREATE TABLE job AS SELECT id, NULL::bigint AS number FROM generate_series(1, 6) AS id")
        other.execute("CREATE TABLE counter AS SELECT 0::bigint AS value")
        other.execute("BEGIN")
        other.execute("UPDATE counter SET value = value")
        for way in forbidden:
            waiting.execute(f"SET enable_{way} = off")
        thread = threading.Thread(target=waiting.execute, args=[STATEMENT])
        thread.start()
        pid = waiting.info.backend_pid
        while not looking.execute("SELECT pg_blocking_pids(%s)", [pid]).fetchone()[0]:
            time.sleep(0.01)
        free = looking.execute("SELECT id FROM job FOR UPDATE SKIP LOCKED").fetchall()
        other.execute("COMMIT")
        thread.join()
        numbered = looking.execute("SELECT count(number) FROM job").fetchone()[0]
        return 6 - len(free), numbered


with connected() as server:
    print("PostgreSQL", server.info.server_version // 10_000, "psycopg", psycopg.__version__)
seen = {
    "nested loop": rows_locked("hashjoin", "mergejoin"),
    "hash join": rows_locked("nestloop", "mergejoin"),
}
for plan, (locked, numbered) in seen.items():
    print(f"{plan}: {locked} of 6 rows locked while it waits, {numbered} updated in the end")
if seen != {"nested loop": (1, 6), "hash join": (6, 6)}:
    sys.exit("This has changed.")
PY
"$work/venv/bin/python" "$work/seen.py" "$work/socket"
