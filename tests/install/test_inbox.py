"""The inbox in a new project whose users have UUIDs: four lines beyond the installation."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.harness.servers import free_port, redis_server
from tests.install.serving import ADDRESS, process
from tests.install.site import Site

pytestmark = [pytest.mark.install, pytest.mark.timeout(400)]

MODELS = """
import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
"""
INSTALLATION = """
INSTALLED_APPS = ["daphne", *INSTALLED_APPS, "people", "notifications", "notifications.inbox"]
ASGI_APPLICATION = "mysite.asgi.application"
AUTH_USER_MODEL = "people.User"
CARILLON = {{"REDIS_URL": "redis://localhost:{port}/1", "OUTBOX": "in-process"}}
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
"""
ASGI = """
from notifications.asgi import get_asgi_application
application = get_asgi_application()
"""
URLS = """
from django.urls import include
from mysite.views import page
urlpatterns += [path("", include("notifications.urls")), path("", page)]
"""
LINES = {
    "views": [
        "from notifications import notify",
        'notify(request.user, "message", {"text": "Hi"})',
    ],
    "template": ["{% load carillon %}", "{% carillon_bell %}"],
}
VIEWS = f"""
from django.shortcuts import render
{LINES["views"][0]}


def page(request):
    if request.GET:
        {LINES["views"][1].replace("HI", repr({"text": "Hi"}))}
    return render(request, "page.html")
"""
PAGE = "<!doctype html><title>Shop</title>{}{}<main>Hello</main>".format(*LINES["template"])
PASSWORD = "a password of the test"
ADD_USER = f"User.objects.create_superuser('ada', password={PASSWORD!r})"


async def test_four_lines_show_a_notification_in_the_page_that_is_open(
    binaries: Path, tmp_path: Path, browser: Browser
) -> None:
    assert sum(map(len, LINES.values())) == 4
    with redis_server(tmp_path / "redis", port=free_port()) as redis:
        site = new_site(tmp_path / "site", binaries, redis.port)
        port = free_port()
        command = ["python", "manage.py", "runserver", "--noreload", f"{ADDRESS}:{port}"]
        with process(site, command, port, tmp_path / "site.log"):
            page = await browser.new_page()
            await page.goto(f"http://{ADDRESS}:{port}/admin/login/?next=/")
            await page.fill("input[name=username]", "ada")
            await page.fill("input[name=password]", PASSWORD)
            await page.press("input[name=password]", "Enter")
            bell = page.locator("carillon-bell").get_by_role("button").first
            await expect(bell).not_to_have_accessible_name(re.compile("1"))
            assert (await page.request.get(f"http://{ADDRESS}:{port}/?notify")).ok
            await expect(bell).to_have_accessible_name(re.compile("1"), timeout=30_000)
            await bell.click()
            await expect(page.locator("carillon-bell")).to_contain_text("Hi")
            await page.close()


def new_site(folder: Path, binaries: Path, redis_port: int) -> Site:
    folder.mkdir()
    site = Site(folder, binaries, redis_port)
    site.run("django-admin", "startproject", "mysite", ".")
    site.manage("startapp", "people")
    (folder / "templates").mkdir()
    for name, content in {
        "people/models.py": MODELS,
        "mysite/settings.py": site.read("mysite/settings.py")
        + INSTALLATION.format(port=redis_port),
        "mysite/asgi.py": site.read("mysite/asgi.py") + ASGI,
        "mysite/urls.py": site.read("mysite/urls.py") + URLS,
        "mysite/views.py": VIEWS,
        "templates/page.html": PAGE,
    }.items():
        (folder / name).write_text(content)
    site.manage("makemigrations", "people")
    site.manage("migrate", "-v0")
    imported = "from people.models import User"
    site.manage("shell", "-v0", "-c", f"{imported}; {ADD_USER}")
    assert "no issues" in site.manage("check")
    return site
