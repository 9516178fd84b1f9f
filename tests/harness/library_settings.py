"""The project's settings with a folder for the libraries of others, which `LIBRARIES` names."""

import os
from pathlib import Path

from config.settings import *  # noqa: F403

STATICFILES_DIRS = [*STATICFILES_DIRS, Path(os.environ["LIBRARIES"])]  # noqa: F405
