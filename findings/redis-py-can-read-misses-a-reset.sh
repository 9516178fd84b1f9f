#!/usr/bin/env bash
# redis-py 8.1.0, asyncio: can_read() sees that a connection was closed, but not that it was reset.
#
# Expected: a pool asks an idle connection can_read(), "detects pending data or dirty/closed connection
# state", before it hands it out, so that a command is not sent on one that is gone.
# Seen: after a FIN it is True. After a reset it is False, since asyncio's StreamReader then is not at
# its end: it holds an exception for whoever reads next. The next command fails with ConnectionError.
# We: also ask whether the writer of an idle connection is closing (notifications/log/connections.py).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check redis==8.1.0 hiredis==3.3.0 ||
  { echo 'The packages cannot be installed.'; exit 2; }
cat >"$work/seen.py" <<'PY'
import asyncio
import socket
import struct

from redis.asyncio import Connection


async def seen(is_reset):
    accepted = []

    async def serve(reader, writer):
        accepted.append(writer)
        while await reader.read(1000):  # what a client says of itself as it connects
            writer.write(b"+OK\r\n" * 2)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = Connection(host="127.0.0.1", port=port, protocol=2)
    await connection.connect()
    [writer] = accepted
    if is_reset:
        option = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
    writer.transport.abort()
    await asyncio.sleep(0.3)
    found = await connection.can_read()
    await connection.disconnect(nowait=True)
    server.close()
    return found


print("closed:", asyncio.run(seen(False)), "reset:", asyncio.run(seen(True)))
PY
seen=$("$work/venv/bin/python" "$work/seen.py" 2>/dev/null)
echo "redis-py 8.1.0, can_read() of a connection that was $seen"
[ "$seen" = 'closed: True reset: False' ] || { echo 'It has changed.'; exit 1; }
