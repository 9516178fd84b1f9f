"""Which rows of tokens are watched."""

from tests.harness.servers import NO_REDIS, ROOT, environment
from tests.harness.warm import run_python

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
    done = run_python("-c", SCRIPT, env=environment(NO_REDIS, ROOT, settings), timeout=60)
    assert done.returncode == 0, done.stderr
