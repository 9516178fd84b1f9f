"""`carillon doctor`: tests a site's streams through the proxies in front of it."""
