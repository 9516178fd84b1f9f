#!/usr/bin/env bash
# Twisted 26.10.0: abortConnection() of a connection whose socket was duplicated before.
#
# Expected: if it sets SO_LINGER at all, which both descriptors share, it does so at once, so that
# whoever goes on with the duplicate can set it back after the call.
# Seen: nothing has changed when the call returns. SO_LINGER (1, 0) is set one turn of the reactor
# later, when the connection is taken to be lost: the duplicate's close() then is a RST, and its
# client loses what it has not read, or gets an error in place of the end.
# We: go on with a socket that Twisted has accepted, and set SO_LINGER back after connectionLost
# (notifications/transport/detach.py).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(for each in python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[23]*/bin/python; do
  "$each" -c 'print()' >/dev/null 2>&1 && { command -v "$each"; break; }
done)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check twisted==26.10.0 ||
  { echo 'The packages cannot be installed.'; exit 2; }
cat >"$work/seen.py" <<'PY'
import socket
import struct
import sys

from twisted.internet import protocol, reactor

found = {}


def linger():
    return struct.unpack("ii", found["socket"].getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))


class Server(protocol.Protocol):
    def connectionMade(self):
        found["socket"] = self.transport.getHandle().dup()
        getattr(self.transport, sys.argv[1])()
        found["at once"] = linger()

    def connectionLost(self, reason):
        reactor.callLater(0, reactor.stop)


listening = reactor.listenTCP(0, protocol.Factory.forProtocol(Server), interface="127.0.0.1")
client = socket.create_connection(("127.0.0.1", listening.getHost().port))
client.settimeout(10)
reactor.run()
print(sys.argv[1], "at once:", found["at once"], "later:", linger(), end=" ")
found["socket"].close()
try:
    print("client:", client.recv(100))
except ConnectionResetError:
    print("client: ConnectionResetError")
PY
seen=$(for call in loseConnection abortConnection; do "$work/venv/bin/python" "$work/seen.py" "$call"; done)
echo "$seen"
[ "$seen" = "loseConnection at once: (0, 0) later: (0, 0) client: b''
abortConnection at once: (0, 0) later: (1, 0) client: ConnectionResetError" ] || { echo 'It has changed.'; exit 1; }
