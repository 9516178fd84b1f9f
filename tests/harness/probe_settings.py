"""Our project, with everything that redirects a request or refuses its host."""

from config.settings import *  # noqa: F403

SECURE_SSL_REDIRECT = PREPEND_WWW = APPEND_SLASH = True
MIDDLEWARE = [*MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]  # noqa: F405
ALLOWED_HOSTS = ["events.example.com"]
