"""Which rows of tokens are watched."""

import subprocess
import sys

from tests.harness.servers import NO_REDIS, ROOT, environment

SCRIPT = """
import django
django.setup()
from django.db.models.signals import post_delete
from knox.models import get_token_model
from notifications.compat import token_rows
model = get_token_model()
assert model.__name__ == "OwnToken"
assert post_delete.disconnect(sender=model, dispatch_uid=token_rows.UID)
"""


def test_a_token_model_that_replaces_that_of_knox_is_watched() -> None:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.harness.knox_site.settings"}
    subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=environment(NO_REDIS, ROOT, settings),
        check=True,
        timeout=60,
    )
