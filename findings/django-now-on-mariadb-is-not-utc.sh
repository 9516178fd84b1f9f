#!/usr/bin/env bash
# Django 6.1.3 with MariaDB 10.11: Now() is in the time zone of the database session, not in UTC.
#
# Expected: with USE_TZ, Now() in a query and timezone.now() in Python are the same moment on every
# database, as they are on PostgreSQL and SQLite, since Django stores and reads times in UTC.
# Seen: CURRENT_TIMESTAMP(6), read as if it were UTC. On a server whose clock is at -05:00 the two are
# five hours apart, so a time that is compared with Now() is early or late by that much, and by an
# hour more or less when the clocks change.
# We: take UTC_TIMESTAMP(6) for leases on these databases (notifications/publishing/outbox/clock.py).
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null && wait || true; rm -rf "$work"' EXIT
export PATH=$PATH:/usr/sbin
for program in mariadbd mariadb-install-db; do
  command -v $program >/dev/null || { echo "This needs $program (Debian: mariadb-server)."; exit 2; }
done
python=$(for each in python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[23]*/bin/python; do
  "$each" -c 'print()' >/dev/null 2>&1 && { command -v "$each"; break; }
done)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check django==6.1.3 pymysql==1.2.4 ||
  { echo 'The packages cannot be installed.'; exit 2; }
user=()
[ "$(id -u)" != 0 ] || { user=(--user=nobody); chmod 755 "$work"; mkdir "$work/data"; chown nobody "$work/data"; }
mariadb-install-db --no-defaults "${user[@]}" --datadir="$work/data" --skip-test-db \
  --auth-root-authentication-method=normal >"$work/install.log" 2>&1 || { cat "$work/install.log"; exit 2; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mariadbd --no-defaults "${user[@]}" --datadir="$work/data" --port="$port" --bind-address=127.0.0.1 \
  --socket="$work/data/socket" --default-time-zone=-05:00 >"$work/server.log" 2>&1 &
cat >"$work/seen.py" <<'PY'
import sys
import time

import django
import pymysql
from django.conf import settings

pymysql.install_as_MySQLdb()
address = dict(HOST="127.0.0.1", PORT=int(sys.argv[1]), USER="root")
settings.configure(
    USE_TZ=True,
    INSTALLED_APPS=["django.contrib.contenttypes"],
    DATABASES={
        "default": dict(ENGINE="django.db.backends.sqlite3", NAME=":memory:"),
        "mariadb": dict(ENGINE="django.db.backends.mysql", NAME="finding", **address),
    },
)
django.setup()
for _ in range(300):
    try:
        server = pymysql.connect(host="127.0.0.1", port=int(sys.argv[1]), user="root")
        break
    except pymysql.OperationalError:
        time.sleep(0.1)
server.cursor().execute("CREATE DATABASE finding")

from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db.models.functions import Now
from django.utils import timezone

apart = []
for alias in ("default", "mariadb"):
    call_command("migrate", database=alias, verbosity=0)
    row = ContentType.objects.using(alias).annotate(now=Now()).first()
    apart.append(round((timezone.now() - row.now).total_seconds() / 3600))
print("hours between timezone.now() and Now(): SQLite {}, MariaDB {}".format(*apart))
PY
seen=$("$work/venv/bin/python" "$work/seen.py" "$port")
echo "$(mariadbd --version | grep -o '[0-9.]*-MariaDB' | head -1): $seen"
[ "$seen" = 'hours between timezone.now() and Now(): SQLite 0, MariaDB 5' ] ||
  { echo 'This has changed.'; exit 1; }
