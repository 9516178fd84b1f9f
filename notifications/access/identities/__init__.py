"""Identities: the session, API key, token or signed link that a request authenticates with."""
