"""The same streams over WebSocket, several on one connection, for where Channels routes them."""
