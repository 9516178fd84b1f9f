"""Transports: each carries the bytes of one stream to one client."""
