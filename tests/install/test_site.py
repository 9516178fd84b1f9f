"""The site after the README's edits: checked, typed, and tested with no Redis."""

import os
from pathlib import Path

import pytest

from tests.install.site import Site

pytestmark = [pytest.mark.install, pytest.mark.timeout(400)]


def test_its_checks_pass_and_a_missing_edit_gets_a_warning(site: Site) -> None:
    assert "no issues" in site.manage("check")
    deployed = site.manage("check", "--tag", "carillon", "--deploy")
    assert "1 issue (0 silenced)" in deployed  # its Redis does not run yet
    assert "(carillon.W017)" in deployed
    assert "(carillon.W001)" in site.manage("check", **site.stay_stock())
    wsgi = site.stay_on_wsgi()
    assert "(1 silenced)" in site.manage("check", **wsgi)
    assert "No changes" in site.manage("makemigrations", "--check", "--dry-run")


def test_its_own_base_template_stays_its_own(site: Site) -> None:
    names = site.manage(
        *("shell", "-v0", "-c"),
        "from django.template.loader import get_template as get;"
        "print(get('base.html').origin.name, get('carillon/base.html').origin.name)",
    )
    own, ours = names.split()
    assert Path(own) == site.folder / "templates/base.html"
    assert ours.endswith("site-packages/notifications/templates/carillon/base.html")


def test_its_own_tests_pass_with_no_redis(site: Site) -> None:
    site.add_tests()
    assert "Ran 2 tests" in site.run("python", "-W", "error", "manage.py", "test", "mysite")
    assert "2 passed" in site.run("python", "-m", "pytest", "-q", "test_orders.py")


def test_its_types_are_complete(site: Site) -> None:
    site.add_tests()
    files = ["mysite", "test_orders.py", "conftest.py"]  # not manage.py: Django has no types there
    mypy = ("python", "-m", "mypy", "--cache-dir", os.devnull)  # it is not run again
    assert "Success: no issues found" in site.run(*mypy, *files)
