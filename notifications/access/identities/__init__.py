"""Who asks: a user's session, a key, a token, a signed link, or nobody known."""
