"""A site with django-generic-notifications, whose notifications come into the inbox too."""
