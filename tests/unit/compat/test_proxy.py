"""A process that neither serves nor sends can end streams in all other processes."""

import asyncio
import json

import pytest

from tests.unit.compat.chat import Project, Site, channels, next_event

END_PERMISSION = """
from django_eventstream import channel_permission_changed
class DeactivatedUser:
    id, is_active = {pk}, False
channel_permission_changed(DeactivatedUser(), {channel!r})
"""


async def test_a_permission_that_a_shell_ends_ends_streams_if_the_app_is_installed(
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
        await next_event(stream)
        await asyncio.to_thread(
            migrated_project.python,
            END_PERMISSION.format(pk=pk, channel=secret),
            DJANGO_SETTINGS_MODULE="installed",
        )
        event = await next_event(stream)
        assert json.loads(event.data)["channels"] == [secret]
        with pytest.raises(EOFError):
            await next_event(stream)
