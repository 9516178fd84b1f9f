"""A site of django-notifications-community that takes the inbox instead, with its rows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.servers import NO_REDIS, ROOT, environment
from tests.install.conftest import new_environment, pip_install

pytestmark = pytest.mark.install

PACKAGE = "django-notifications-community==1.12.3"
SETTINGS = """
DEBUG = False
SECRET_KEY = "a secret of no site, only long enough for the checks of Django"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "notifications", *APPS,
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "DIRS": ["ROOT/templates"],
}]
DJANGO_NOTIFICATIONS_CONFIG = {"USE_JSONFIELD": True}
CARILLON = {"LOG": "memory"}
""".replace("ROOT", str(ROOT))
SEND = """
import json
import re
import django
django.setup()
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from notifications.signals import notify
call_command("migrate", verbosity=0)
ada, bob, eve = (User.objects.get_or_create(username=name)[0] for name in ("ada", "bob", "eve"))
group, _ = Group.objects.get_or_create(name="the <group>")
group.user_set.set([ada, eve])

def send():
    notify.send(bob, recipient=ada, verb="reached level 60")
    notify.send(bob, recipient=[ada, eve], verb="joined", target=group)
    notify.send(sender=bob, recipient=group, verb="closed", action_object=eve, level="warning")
    everyone = User.objects.filter(username__in=["ada", "eve"])
    notify.send(bob, recipient=everyone, verb="closed", action_object=eve, target=group, extra=1)
"""
THEIRS = """
send()
from notifications.models import Notification
first = ada.notifications.order_by("pk").first()
first.mark_as_read()
def texts(user):
    newest_first = user.notifications.order_by("-pk")
    return [re.sub("\\\\s0.minutes ago$", "", str(each)) for each in newest_first]
print(json.dumps({"ada": texts(ada), "eve": texts(eve)}))
"""
OURS = """
from notifications.conf import get_settings
from notifications.inbox import lists
from notifications.publishing.outbox import publish_waiting
call_command("carillon", "inbox", "import", "community")
imported = {name: lists.page(user).notifications for name, user in (("ada", ada), ("eve", eve))}
send()
publish_waiting("default", get_settings())
both = {name: lists.page(user).notifications for name, user in (("ada", ada), ("eve", eve))}
print(json.dumps({"imported": imported, "both": both}, default=str))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with that package alone: it has our import name."""
    folder = tmp_path_factory.mktemp("community")
    binaries = new_environment(folder / "env")
    pip_install(binaries, "--no-deps", "--target", str(folder / "packages"), PACKAGE)
    return folder / "packages"


def python(script: str, folder: Path, *path: Path) -> str:
    given = {
        "DJANGO_SETTINGS_MODULE": "site_settings",
        "PYTHONPATH": os.pathsep.join(map(str, (*path, folder))),
    }
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment(NO_REDIS, folder, given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_every_notify_and_every_row_stays_as_it_was(tmp_path: Path, package: Path) -> None:
    settings = tmp_path / "site_settings.py"
    settings.write_text(SETTINGS.replace("*APPS,", ""))
    theirs = json.loads(python(SEND + THEIRS, tmp_path, package))
    assert theirs["eve"] == [
        "bob closed eve on the <group>",
        "bob closed eve",
        "bob joined the <group>",
    ]
    settings.write_text(SETTINGS.replace("*APPS", '"notifications.inbox"'))
    ours = json.loads(python(SEND + OURS, tmp_path, ROOT))
    for name, texts in theirs.items():
        assert [each["text"] for each in ours["imported"][name]] == texts
        assert [each["text"] for each in ours["both"][name]] == [*texts, *texts]
    states = [each["state"] for each in ours["imported"]["ada"]]
    assert states == ["unseen", "unseen", "unseen", "read"]
