#!/usr/bin/env bash
# uvicorn 0.54.0 with httptools 0.9.0: an HTTP/1.0 request is answered in chunked coding.
#
# Expected: no Transfer-Encoding, because RFC 9112 section 6.1 forbids it in a response to a client that
# did not ask with HTTP/1.1; uvicorn's other parser, h11, leaves it out and closes the connection.
# Seen: "transfer-encoding: chunked", so the chunk sizes are part of the body that an HTTP/1.0 client
# reads. nginx speaks HTTP/1.0 to its upstreams unless it is configured otherwise, and copes.
# We: announce what the server announced, and write our bytes in the same coding.
set -euo pipefail
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvicorn==0.54.0 httptools==0.9.0 h11==0.16.0 ||
  { echo 'The packages cannot be installed.'; exit 2; }
cat >"$work/app.py" <<'PY'
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})
PY
cat >"$work/ask.py" <<'PY'
import socket, sys, time

for _ in range(100):
    try:
        peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5)
        break
    except OSError:
        time.sleep(0.1)
peer.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
answer = b""
while data := peer.recv(4096):
    answer += data
print(repr(answer.partition(b"\r\n\r\n")[2]), "chunked" if b"chunked" in answer.lower() else "plain")
PY
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
seen=
for parser in h11 httptools; do
  (cd "$work" && exec "$work/venv/bin/python" -m uvicorn app:app --port "$port" --http "$parser" \
    --lifespan off --log-level error) &
  server=$!
  answer=$("$work/venv/bin/python" "$work/ask.py" "$port")
  kill "$server"
  wait "$server" 2>/dev/null || true
  printf '%-10s %s\n' "$parser" "$answer"
  seen+="$parser ${answer##* };"
done
[ "$seen" = 'h11 plain;httptools chunked;' ] || { echo 'It has changed.'; exit 1; }
