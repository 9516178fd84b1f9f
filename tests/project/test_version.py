"""The version is one, wherever it is written."""

import json
import re
import tomllib

from notifications import __version__
from notifications.views.openapi import document
from tests.harness.servers import ROOT


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    package = json.loads((ROOT / "npm" / "package.json").read_text())
    changes = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    versions = {
        "wheel": project["version"],
        "npm": package["version"],
        "newest entry of the changelog": changes[0],
        "OpenAPI": document()["info"]["version"],
    }
    assert versions == dict.fromkeys(versions, __version__)
