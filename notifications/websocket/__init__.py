"""Event streams over WebSocket, several on one connection, for projects that use Channels."""
