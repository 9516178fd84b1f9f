"""Static files in production: names contain a hash of the content, in imports too."""

import re
from pathlib import Path

from django.core.management import call_command
from pytest_django import Settings

from tests.harness.servers import ROOT


def test_a_module_imports_others_by_their_hashed_names(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STATICFILES_DIRS = [ROOT / "notifications" / "static"]
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "config.storage.ModuleStorage"},
    }
    call_command("collectstatic", verbosity=0, interactive=False)
    [page] = (tmp_path / "carillon").glob("page.*.js")
    imported = re.findall(r"from \"\./([^\"]+)\"", page.read_text())
    assert imported
    for name in imported:
        assert re.fullmatch(r"\w+\.[0-9a-f]{12}\.js", name)
        assert (tmp_path / "carillon" / name).is_file()
