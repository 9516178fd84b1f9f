"""Peers in Python: each module is a whole site, as small as possible."""
