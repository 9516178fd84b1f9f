"""Processes that neither serve nor send: what they end is ended everywhere."""

import asyncio
import json

import pytest

from tests.unit.compat.chat import Project, Site, channels, heard

END = """
from django_eventstream import channel_permission_changed
class Lost:
    id, is_active = {pk}, False
channel_permission_changed(Lost(), {channel!r})
"""


async def test_a_shell_that_only_ends_a_permission_needs_the_app_to_be_installed(
    migrated: Site, migrated_project: Project, room: str
) -> None:
    secret = f"_{room}"
    cookie = await migrated.log_in(room)
    pk = await migrated.do(
        "from django.contrib.auth.models import User\n"
        f"result = User.objects.get(username={room!r}).pk"
    )
    (migrated_project.folder / "installed.py").write_text(
        'from probed import *\nINSTALLED_APPS = [*INSTALLED_APPS, "notifications"]\n'
    )
    async with migrated.listen(channels(secret), Cookie=cookie) as stream:
        await heard(stream)
        await asyncio.to_thread(
            migrated_project.python,
            END.format(pk=pk, channel=secret),
            DJANGO_SETTINGS_MODULE="installed",
        )
        said = await heard(stream)
        assert json.loads(said.data)["channels"] == [secret]
        with pytest.raises(EOFError):
            await heard(stream)
