"""What django-generic-notifications sends comes into the inbox, and so do its rows of before."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.harness.servers import NO_REDIS, environment
from tests.harness.warm import run_python

MIGRATE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
print("{}")
"""
START = """
import json
import django
django.setup()
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.utils import translation
from generic_notifications import send_notification
from generic_notifications.models import Notification as Theirs
from generic_notifications.registry import registry
from generic_notifications.types import SystemMessage
from notifications.conf import get_settings
from notifications.inbox import lists
from notifications.inbox.models import Notification
from notifications.publishing.outbox import publish_waiting
from tests.harness.generic_site.types import Comment
ada, bob = (User.objects.create_user(name) for name in ("ada", "bob"))
group = Group.objects.create(name="the group")
"""
SEND = """
by_bob = {"actor": bob, "target": group, "url": "/1/", "metadata": {"count": 2}}
for text in ("", "its own text"):
    send_notification(ada, Comment, text=text, **by_bob)
send_notification(ada, SystemMessage, subject="Hello", url="javascript:alert(1)")
"""
SHOW = """
publish_waiting("default", get_settings())
with translation.override("de"):
    shown = lists.page(ada).notifications
    theirs = {each.pk: each.get_text() for each in Theirs.objects.all()}
print(json.dumps({"shown": shown, "theirs": theirs}, default=str))
"""


def run(folder: Path, script: str) -> Any:
    settings = {"DJANGO_SETTINGS_MODULE": "tests.harness.generic_site.settings"}
    variables = environment(NO_REDIS, folder, settings)
    done = run_python("-W", "error", "-c", script, env=variables, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a site that has its tables, and nothing in them."""
    folder = tmp_path_factory.mktemp("migrated")
    run(folder, MIGRATE)
    return folder


@pytest.fixture(scope="module")
def used(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a site on which something was sent."""
    folder = copied(migrated, tmp_path_factory.mktemp("used"))
    run(folder, START + SEND + "print('{}')")
    return folder


@pytest.fixture
def site(migrated: Path, tmp_path: Path) -> Path:
    return copied(migrated, tmp_path)


def copied(original: Path, folder: Path) -> Path:
    """A folder with the database of another, which no process has open."""
    return shutil.copytree(original, folder, dirs_exist_ok=True)


def test_what_is_sent_comes_into_the_inbox_in_the_readers_language(site: Path) -> None:
    result = run(site, START + SEND + SHOW)
    shown, theirs = result["shown"], result["theirs"]
    assert (
        [each["text"] for each in shown]
        == [
            "Important system notifications",
            "its own text",
            "Ja: bob wrote 2 to the group",
        ]
        == list(theirs.values())
    )
    assert [(each["kind"], each["category"], each["url"]) for each in shown] == [
        ("generic.system_message", "system_message", ""),
        ("generic.comment", "comment", "/1/"),
        ("generic.comment", "comment", "/1/"),
    ]


def test_rows_of_before_are_imported_once_below_what_came_since(site: Path) -> None:
    before = """
[channel] = [each for each in registry.get_all_channels() if each.key == "inbox"]
registry.unregister_channel(channel)
"""
    since = """
Theirs.objects.filter(text="its own text").get().mark_as_read()
registry.register_channel(channel, force=True)
send_notification(ada, Comment, actor=bob, target=group, text="since", metadata={"count": 1})
for _ in range(2):
    call_command("carillon", "inbox", "import", "generic")
assert Notification.objects.count() == 4
row = Notification.objects.get(params__contains="its own text")
theirs = Theirs.objects.get(text="its own text")
assert (row.created_at, row.read_at, row.seen_at) == (theirs.added, theirs.read, theirs.read)
"""
    result = run(site, START + before + SEND + since + SHOW)
    shown, theirs = result["shown"], result["theirs"]
    assert [each["text"] for each in shown] == list(theirs.values())
    assert [each["state"] for each in shown] == ["unseen", "unseen", "read", "unseen"]
    assert [each["url"] for each in shown] == ["", "", "/1/", "/1/"]
    assert shown[0]["number"] > 0 > shown[1]["number"]


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_site_without_that_package_still_has_the_texts(
    used: Path, tmp_path: Path, is_kept: bool
) -> None:
    without = """
from django.conf import settings
import importlib
settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if "generic" not in name]
import django
django.setup()
import json, sys
from django.contrib.auth.models import User
from django.core.management import call_command
from notifications.conf import get_settings
from notifications.inbox import lists
from notifications.inbox.models import Notification
from notifications.publishing.outbox import publish_waiting
assert "generic_notifications.models" not in sys.modules
"""
    if not is_kept:
        without += "Notification.objects.all().delete()\n"
    without += """
call_command("carillon", "inbox", "import", "generic")
publish_waiting("default", get_settings())
texts = [each["text"] for each in lists.page(User.objects.get(username="ada")).notifications]
print(json.dumps(texts))
"""
    texts = run(copied(used, tmp_path), without)
    if is_kept:
        assert texts[1:] == ["its own text", "Yes: bob wrote 2 to the group"]
    else:
        # Only the type, which is gone, could have made the text of the first and the last.
        assert texts == ["Hello", "its own text", ""]
