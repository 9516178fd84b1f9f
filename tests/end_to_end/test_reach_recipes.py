"""How e-mails are sent by docs/reach.md: a relay, a timer, the beat of Celery, Django's tasks."""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import django
import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.utils import timezone
from pytest_django import Settings as DjangoSettings

from notifications.inbox.models import Delivery
from tests.harness.mail_server import MailServer, mail_server
from tests.harness.manage import carillon_process
from tests.harness.servers import (
    ROOT,
    START_DEADLINE_SECONDS,
    RedisServer,
    environment,
    manage,
    migrate,
)
from tests.unit.inbox.mailing import Backend
from tests.unit.inbox.shop import shop
from tests.unit.publishing.outbox.reading import wait_until

PAGE = (ROOT / "docs" / "reach.md").read_text()
CELERY_APP = """
import os

import django
from celery import Celery

django.setup()
app = Celery(broker=os.environ["BROKER_URL"], include=["shop.celery_tasks"])
"""
NOTIFY = """
from notifications import notify
user, _ = User.objects.get_or_create(username="ada", email="ada@example.com")
notify(user, "mail.paid", {"number": 7})
"""
TASK_MODULES = ["django_tasks", *(["django.tasks"] if django.VERSION >= (6, 0) else [])]


def block_of(file: str) -> str:
    blocks: list[str] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    [code] = [block for block in blocks if block.startswith(f"# {file}")]
    return code


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def variables(server: MailServer) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "tests.harness.mail_settings",
        "CARILLON_SITE_URL": "https://shop.example",
        "MAIL_PORT": str(server.port),
    }


@pytest.fixture
def notified(redis: RedisServer, tmp_path: Path, variables: dict[str, str]) -> Path:
    """The folder of a site in which somebody has been notified, a second before it is due."""
    migrate(tmp_path)
    manage("shell", "-v0", "-c", NOTIFY, redis_url=redis.url, folder=tmp_path, **variables)
    return tmp_path


def check(server: MailServer) -> None:
    wait_until(lambda: len(server.contents) == 1, deadline=START_DEADLINE_SECONDS)
    [message] = server.messages
    assert (message["To"], message["Subject"]) == ("ada@example.com", "Order 7 was paid")
    parts = [part.get_content_type() for part in message.iter_parts()]
    assert parts == ["text/plain", "text/html"]
    assert re.search(rb"^List-Unsubscribe: <https://\S+>\r$", server.contents[0], re.MULTILINE)


def test_a_relay(
    redis: RedisServer, notified: Path, server: MailServer, variables: dict[str, str]
) -> None:
    with carillon_process(
        "relay", environment=environment(redis.url, notified, variables)
    ) as process:
        check(server)
        assert process.end() == 0


def test_a_relay_sends_again_what_the_server_has_not_answered(
    redis: RedisServer, notified: Path, server: MailServer, variables: dict[str, str]
) -> None:
    server.hang_up = 1
    with carillon_process("relay", environment=environment(redis.url, notified, variables)):
        wait_until(lambda: len(server.contents) == 1)
        due = "from notifications.inbox.models import Delivery as D\n"
        due += "print(D.objects.filter(attempts=1).update(due_at='2000-01-01T00:00Z'))"

        def bring_forward() -> bool:
            """Its minute is over, once the relay has noted the failure."""
            code = ("shell", "-v0", "-c", due)
            return "1" in manage(*code, redis_url=redis.url, folder=notified, **variables)

        wait_until(bring_forward)
        wait_until(lambda: len(server.contents) == 2)
    assert len(set(server.ids)) == 1


def test_a_timer(
    redis: RedisServer, notified: Path, server: MailServer, variables: dict[str, str]
) -> None:
    outputs = list[str]()

    def deliver() -> bool:
        arguments = ("carillon", "deliver")
        outputs.append(manage(*arguments, redis_url=redis.url, folder=notified, **variables))
        return outputs[-1].startswith("Sent: 1.")

    wait_until(deliver)
    check(server)


def test_the_beat_of_celery(
    redis: RedisServer, notified: Path, server: MailServer, variables: dict[str, str]
) -> None:
    (notified / "shop").mkdir()
    (notified / "shop" / "__init__.py").touch()
    (notified / "shop" / "celery_tasks.py").write_text(block_of("shop/celery_tasks.py"))
    beat = block_of("celery.py")
    assert "60.0" in beat
    (notified / "shop_celery.py").write_text(CELERY_APP + beat.replace("60.0", "0.5"))
    broker = redis.url.removesuffix("/0") + "/1"
    quick = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING")
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "shop_celery", "worker", "-B", "-c", "1"),
            *("-s", str(notified / "beat"), *quick),
        ],
        cwd=notified,
        env={
            **environment(redis.url, notified, {**variables, "BROKER_URL": broker}),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{notified}",
        },
        stdin=subprocess.DEVNULL,
    )
    try:
        check(server)
    finally:
        worker.terminate()
        worker.wait(30)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("module", TASK_MODULES)
def test_a_task_of_django_that_is_deferred(
    settings: DjangoSettings, tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TASKS = {"default": {"BACKEND": f"{module}.backends.dummy.DummyBackend"}}
    settings.CARILLON = {**settings.CARILLON, "SITE_URL": "https://shop.example"}
    monkeypatch.setattr("notifications.inbox.delivery.email._default_backend", Backend)
    monkeypatch.setattr(Backend, "fault", None)
    code, name = block_of("shop/tasks.py"), f"shop_tasks_of_{module.replace('.', '_')}"
    assert "from django.tasks import task  # Django 5.2: from django_tasks import task" in code
    (tmp_path / f"{name}.py").write_text(code.replace("django.tasks", module, 1))
    monkeypatch.syspath_prepend(tmp_path)
    tasks = importlib.import_module(name)
    ada = User.objects.create_user("ada", "ada@example.com")
    with shop():
        after = timedelta(minutes=5)
        tasks.notify_and_mail(ada, "order.paid", after=after, params={"n": 7})
        [result] = tasks.send_emails.get_backend().results
        due = Delivery.objects.get().due_at
        assert due < result.task.run_after < due + timedelta(seconds=30)
        assert json.dumps([result.args, result.kwargs]) == "[[], {}]"
        run_after = result.task.run_after
        monkeypatch.setattr(timezone, "now", lambda: run_after)
        tasks.send_emails.call()
    assert [message.subject for message in mail.outbox] == ["Paid 7"]
