"""The npm packages of the tests: their versions are fixed, and the lockfile names no registry."""

import json

from tests.harness.npm import FOLDER, LOCK, npm_packages, npm_program


def wanted_versions() -> dict[str, str]:
    """The versions by the name of the folder: `npm:htmx.org@4.0.1` is one under another name."""
    wanted = json.loads((FOLDER / "package.json").read_text())["devDependencies"]
    return {name: version.rpartition("@")[2] for name, version in wanted.items()}


def test_the_lockfile_names_no_host() -> None:
    packages = json.loads(LOCK.read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in packages.items() if name)


def test_package_json_has_exact_versions_which_are_those_of_the_lockfile() -> None:
    wanted = wanted_versions()
    locked = json.loads(LOCK.read_text())["packages"]
    assert wanted == {name: locked[f"node_modules/{name}"]["version"] for name in wanted}


def test_the_packages_are_installed_with_their_programs() -> None:
    packages = npm_packages()
    for name, version in wanted_versions().items():
        assert json.loads((packages / name / "package.json").read_text())["version"] == version
    assert npm_program("esbuild").startswith(str(packages))
