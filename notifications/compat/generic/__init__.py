"""A channel of django-generic-notifications: what it sends comes into the inbox too."""
