"""The project's settings with a folder for the libraries of others, which `LIBRARIES` names.

Its URLs have a slower loader besides.
"""

import os
from pathlib import Path

from config.settings import *  # noqa: F403

ROOT_URLCONF = "tests.harness.library_urls"
STATICFILES_DIRS = [*STATICFILES_DIRS, Path(os.environ["LIBRARIES"])]  # noqa: F405
