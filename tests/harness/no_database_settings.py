"""The project without a database: public topics, and publishers with keys of the settings."""

from config.settings import *  # noqa: F403

DATABASES = {}
