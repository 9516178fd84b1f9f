#!/usr/bin/env bash
# redis-py 8.1.0: of a pool's idle connections, the one that could not connect is handed out first.
#
# Expected: while sound connections are idle, a command is sent on one of them.
# Seen: the pool is a stack. A connection whose connect() failed goes back on top of it, so the next
# command gets it again, and fails again, for as long as the server refuses new connections
# (maxclients), although connections that are open wait below it.
# We: this is why a small plan of a hosted Redis can make every publication fail after one burst.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
command -v redis-server >/dev/null || { echo 'This needs redis-server (Debian: redis-server).'; exit 2; }
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 ||
  { echo 'The packages cannot be installed.'; exit 2; }
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --port "$port" --dir "$work" --save '' --maxclients 2 --daemonize no >/dev/null &
cat >"$work/seen.py" <<'PY'
import os, signal, sys, threading, time
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

port, server = map(int, sys.argv[1:])
options = dict(host="127.0.0.1", port=port, retry=Retry(NoBackoff(), 0))
for _ in range(100):
    try:
        redis.Redis(**options).ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
time.sleep(0.2)
pool = redis.BlockingConnectionPool(max_connections=3, timeout=1, **options)
sound = [pool.get_connection(), pool.get_connection()]
for connection in sound:
    connection.send_command("PING")
    connection.read_response()
refused = []


def third():
    try:
        pool.get_connection()  # the server has room for two clients
    except redis.RedisError as error:
        refused.append(error)


# The server stands still while the third connects, so that the other two are idle before it fails.
os.kill(server, signal.SIGSTOP)
thread = threading.Thread(target=third)
thread.start()
time.sleep(0.3)
for connection in sound:
    pool.release(connection)
os.kill(server, signal.SIGCONT)
thread.join()
# Both sound connections are idle now. Which connection serves the next commands?
client = redis.Redis(connection_pool=pool)
outcomes = []
for _ in range(5):
    try:
        client.ping()
        outcomes.append("ok")
    except redis.RedisError:
        outcomes.append("refused")
print(f"third connection refused: {bool(refused)}; then: {' '.join(outcomes)}")
PY
seen=$("$work/venv/bin/python" "$work/seen.py" "$port" "$!")
echo "$seen"
[ "$seen" = 'third connection refused: True; then: refused refused refused refused refused' ] ||
  { echo 'It has changed.'; exit 1; }
