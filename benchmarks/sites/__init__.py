"""Peers in Python, one module each: a whole site, as small as it can be."""
