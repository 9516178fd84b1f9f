"""The checks of sites with several tenants, and of their outbox."""

from pathlib import Path
from typing import Any

import pytest

from tests.harness.servers import NO_REDIS, environment
from tests.harness.warm import run_python
from tests.unit.checks.test_checks import MEMORY, ids, messages_of

TENANCY = "tests.harness.tenancy.ContextTenancy"


def test_a_package_of_tenants_without_a_namespace_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("django_tenants")
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.harness.tenants.settings",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
    }
    found = checked(tmp_path, variables | {"SILENCE": "0"})
    assert "carillon.E005" in found
    assert "'NAMESPACE': 'notifications.compat.tenants.schema'" in found
    found = checked(tmp_path, variables | {"TENANTS_APART": "notifications.compat.tenants.schema"})
    assert "carillon.E" not in found


@pytest.mark.parametrize(
    ("outbox", "is_error"),
    [({}, False), ({"CARILLON_OUTBOX": "in-process"}, True)],
)
def test_a_tenant_site_without_the_table_of_the_outbox_starts_if_it_has_no_outbox(
    tmp_path: Path, outbox: dict[str, str], is_error: bool
) -> None:
    """Here the application is listed in TENANT_APPS alone, so the router keeps the shared table."""
    pytest.importorskip("django_tenants")
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.harness.tenants.settings",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
        "TENANTS_APART": "notifications.compat.tenants.schema",
        "ONLY_IN_TENANTS": "1",
        **outbox,
    }
    assert ("carillon.E003" in checked(tmp_path, variables)) is is_error


def checked(folder: Path, variables: dict[str, str]) -> str:
    """What `manage.py check` writes."""
    done = run_python(
        *("manage.py", "check", "--tag", "carillon"),
        env=environment(NO_REDIS, folder, variables),
        timeout=60,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", ["tests.harness.tenancy.NoTenancy", "tests.harness.nowhere.it"])
def test_a_namespace_that_cannot_be_read_is_an_error(path: str) -> None:
    [message] = messages_of(CARILLON={**MEMORY, "NAMESPACE": path})
    assert (message.id, "NAMESPACE" in message.msg) == ("carillon.E004", True)


def test_a_namespace_is_no_fault() -> None:
    assert ids(CARILLON={**MEMORY, "NAMESPACE": TENANCY}) == []


class NoTablesRouter:
    """A router that allows none of our tables anywhere, as that of a tenant package may."""

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool:
        return app_label != "carillon"


ROUTERS = [f"{__name__}.NoTablesRouter"]


def test_a_site_whose_outbox_is_off_needs_no_table() -> None:
    assert ids(DATABASE_ROUTERS=ROUTERS) == []


@pytest.mark.parametrize("outbox", [{"OUTBOX": "in-process"}, {"OUTBOX_DATABASES": ["default"]}])
def test_a_site_that_uses_the_outbox_needs_its_table(outbox: dict[str, Any]) -> None:
    assert ids(DATABASE_ROUTERS=ROUTERS, CARILLON={**MEMORY, **outbox}) == ["carillon.E003"]
