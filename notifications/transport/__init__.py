"""Wires: what carries bytes to one client, on every server."""
