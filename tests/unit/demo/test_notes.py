"""The notes page names what it lacks, and loads nothing from elsewhere."""

import json
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings as DjangoSettings

from demo.notes import LIBRARIES
from tests.harness.servers import ROOT


@pytest.fixture
def static(settings: DjangoSettings, tmp_path: Path) -> Path:
    settings.STATICFILES_DIRS = [tmp_path]
    return tmp_path / "demo" / "lib"


@pytest.mark.django_db
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_page_without_its_library_explains_how_to_get_it(
    client: Client, static: Path, name: str
) -> None:
    url = f"/examples/notes/?as={name}"
    page = client.get(url).content.decode()
    assert f"{LIBRARIES[name].title} is not there yet." in page
    assert ("npm --prefix demo ci" in page) == (name != "datastar")
    assert "<script" not in page
    static.mkdir(parents=True)
    for file in LIBRARIES[name].files:
        (static / file).touch()
    answer = client.get(url)
    page = answer.content.decode()
    assert "is not there yet" not in page
    for file in LIBRARIES[name].files:
        assert f'src="/static/demo/lib/{file}"' in page
    policy = answer["Content-Security-Policy"]
    assert "http" not in policy
    assert ("'unsafe-eval'" in policy) == (name == "datastar")


def test_the_libraries_are_those_of_the_tests() -> None:
    named = json.loads((ROOT / "demo" / "package.json").read_text())["dependencies"]
    tested = json.loads((ROOT / "tests" / "npm" / "package.json").read_text())["devDependencies"]
    assert named.items() <= tested.items()
