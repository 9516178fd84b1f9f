"""What django-eventstream promises to its API and clients, without its defects."""

import asyncio
import json

import pytest

from tests.unit.compat.chat import Project, Site, channels, data_of, next_event

OPEN, RESET, ERROR = "stream-open", "stream-reset", "stream-error"


async def test_send_event_reaches_a_stream_with_its_type_and_an_id(
    migrated: Site, room: str
) -> None:
    async with migrated.listen(channels(room)) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        opening = await next_event(stream)
        assert (opening.type, opening.data) == (OPEN, "")
        await migrated.send(room, {"text": "ü"}, "remark")
        event = await next_event(stream)
    assert (event.type, json.loads(event.data)) == ("remark", {"text": "ü"})
    channel, _, number = event.id.partition(":")
    assert channel == room
    assert int(number) > int(opening.id.partition(":")[2])


@pytest.mark.parametrize("type", ["error", "open", "stream.reset", "", "eventstream:x"])
async def test_a_type_of_any_name_arrives(migrated: Site, room: str, type: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        await next_event(stream)
        await migrated.send(room, "x", type)
        assert (await next_event(stream)).type == (type or "message")


async def test_text_of_several_lines_arrives_as_it_is(migrated: Site, room: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        await next_event(stream)
        await migrated.send(room, "a\r\nb\rc\nd", json_encode=False)
        await migrated.send(room, 7, json_encode=False)
        assert await data_of(stream, 2) == ["a\nb\nc\nd", "7"]


async def test_events_of_another_process_arrive(
    migrated: Site, migrated_project: Project, room: str
) -> None:
    async with migrated.listen(channels(room, f"typing-{room}")) as stream:
        await next_event(stream)
        await asyncio.to_thread(
            migrated_project.python,
            "from django_eventstream import send_event\n"
            f"send_event({room!r}, 'message', 1); send_event('typing-{room}', 'message', 2)",
        )
        assert await data_of(stream, 2) == ["1", "2"]


@pytest.mark.parametrize("how", ["Last-Event-ID", "lastEventId"])
async def test_a_stream_resumes_after_the_last_id(migrated: Site, room: str, how: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        await next_event(stream)
        await migrated.do(f"for n in range(30): send_event({room!r}, 'message', n)")
        events = [await next_event(stream) for _ in range(30)]
    assert [event.data for event in events] == [str(n) for n in range(30)]
    back = (
        migrated.listen(channels(room), **{how: events[9].id})
        if how == "Last-Event-ID"
        else migrated.listen(channels(room, lastEventId=events[9].id))
    )
    async with back as stream:
        assert (await next_event(stream)).id == events[9].id
        remaining = [await next_event(stream) for _ in range(20)]
    assert remaining == events[10:]


async def test_the_last_parameter_that_is_not_empty_counts(migrated: Site, room: str) -> None:
    """The JavaScript client keeps the page's parameter in its URL and appends a later one."""
    async with migrated.listen(channels(room)) as stream:
        first = (await next_event(stream)).id
        await migrated.send(room, 1)
        then = (await next_event(stream)).id
    await migrated.send(room, 2)
    path = channels(room, lastEventId=first) + f"&lastEventId={then}&lastEventId="
    async with migrated.listen(path) as stream:
        assert await data_of(stream, 2) == ["", "2"]


async def test_a_client_that_is_cut_off_before_the_first_event_misses_nothing(
    migrated: Site, room: str
) -> None:
    async with migrated.listen(channels(room)) as stream:
        opening = await next_event(stream)
    await migrated.send(room, "meanwhile")
    async with migrated.listen(channels(room), Last_Event_ID=opening.id) as stream:
        assert await data_of(stream, 2) == ["", '"meanwhile"']


async def test_a_page_resumes_from_the_current_id(migrated: Site, room: str) -> None:
    await migrated.send(room, "before")
    last = await migrated.do(f"result = get_current_event_id([{room!r}, 'other'])")
    assert [part.split(":")[0] for part in last.split(",")] == [room, "other"]
    await migrated.send(room, "after")
    async with migrated.listen(channels(room, "other", lastEventId=last)) as stream:
        assert await data_of(stream, 2) == ["", '"after"']


async def test_each_channel_resumes_from_its_own_id(migrated: Site, room: str) -> None:
    a, b = f"{room}-a", f"{room}-b"
    first = await migrated.do(f"result = get_current_event_id([{a!r}])")
    for number, channel in enumerate([a, b, a, b]):
        await migrated.send(channel, number)
    then = await migrated.do(f"result = get_current_event_id([{b!r}])")
    await migrated.send(b, 4)
    async with migrated.listen(channels(a, b, lastEventId=f"{first},{then}")) as stream:
        opening = await next_event(stream)
        assert opening.id == f"{first},{then}"
        events = [await next_event(stream) for _ in range(3)]
    assert [event.data for event in events] == ["0", "2", "4"]
    # A client that is cut off here would neither miss nor repeat an event.
    assert events[0].id.split(",")[1] == then


@pytest.mark.parametrize("number", ["abc", "-1", "12", "9" * 5000, "٣"])
async def test_an_unknown_id_resets_only_its_channel(
    migrated: Site, room: str, number: str
) -> None:
    good = await migrated.do(f"result = get_current_event_id([{room!r}])")
    await migrated.send(room, "kept")
    path = channels(room, "other", lastEventId=f"{good},other:{number}")
    async with migrated.listen(path) as stream:
        assert (await next_event(stream)).type == OPEN
        reset = await next_event(stream)
        assert (reset.type, json.loads(reset.data)) == (RESET, {"channels": ["other"]})
        assert (await next_event(stream)).data == '"kept"'
        await migrated.send("other", "from here on")
        assert (await next_event(stream)).data == '"from here on"'


@pytest.mark.parametrize("text", ["nonsense", "a:1:2", "a:1,", ":::"])
async def test_a_malformed_id_gets_an_error_event(migrated: Site, room: str, text: str) -> None:
    async with migrated.listen(channels(room, lastEventId=text)) as stream:
        event = await next_event(stream)
    assert (stream.status, event.type, event.id) == (200, ERROR, "error")
    assert json.loads(event.data)["condition"] == "bad-request"


async def test_number_0_replays_all_that_is_kept(migrated: Site, room: str) -> None:
    await migrated.send(room, "first")
    async with migrated.listen(channels(room, lastEventId=f"{room}:0")) as stream:
        assert await data_of(stream, 2) == ["", '"first"']


async def test_a_channel_that_is_not_reliable_is_live_and_has_no_ids(
    migrated: Site, room: str
) -> None:
    typing = f"typing-{room}"
    async with migrated.listen(channels(typing)) as stream:
        assert (await next_event(stream)).id == ""
        await migrated.send(typing, "eve")
        event = await next_event(stream)
    assert (event.data, event.id) == ('"eve"', "")
    async with migrated.listen(channels(typing, room, lastEventId=f"{typing}:0")) as stream:
        opening = await next_event(stream)
        assert (opening.type, opening.id.partition(":")[0]) == (OPEN, room)
        await migrated.send(typing, "ada")
        event = await next_event(stream)
    assert (event.data, event.id.partition(":")[0]) == ('"ada"', room)


@pytest.mark.parametrize("kind", ["", "typing-"])
async def test_skipped_users_do_not_get_the_event(migrated: Site, room: str, kind: str) -> None:
    channel = kind + room
    cookie = await migrated.log_in("ada")
    ada = await migrated.do(
        "from django.contrib.auth.models import User\nresult = User.objects.get(username='ada').pk"
    )
    async with (
        migrated.listen(channels(channel), Cookie=cookie) as hers,
        migrated.listen(channels(channel)) as others,
    ):
        await next_event(hers)
        await next_event(others)
        await migrated.send(channel, 1, skip_user_ids=[ada])
        await migrated.send(channel, 2, skip_user_ids=[int(ada)])
        await migrated.send(channel, 3, skip_user_ids=["anonymous"])
        await migrated.send(channel, 4)
        assert await data_of(hers, 2) == ["3", "4"]
        assert await data_of(others, 3) == ["1", "2", "4"]


async def test_a_forbidden_channel_gets_an_error_event_and_no_second_stream(
    migrated: Site, room: str
) -> None:
    secret = f"_{room}"
    async with migrated.listen(channels(room, secret)) as stream:
        event = await next_event(stream)
    assert (event.type, event.id) == (ERROR, "error")
    assert json.loads(event.data) == {
        "condition": "forbidden",
        "text": f"Permission denied to channels: {secret}",
        "channels": [secret],
    }
    async with migrated.listen(channels(secret), Last_Event_ID="error") as stream:
        assert stream.status == 400


async def test_a_permission_that_ends_ends_streams_of_that_user_and_channel_in_every_process(
    migrated: Site, migrated_project: Project, room: str
) -> None:
    secret = f"_{room}"
    ada, eve = await migrated.log_in(f"ada-{room}"), await migrated.log_in(f"eve-{room}")
    with migrated_project.served("handed_off:application", by="daphne") as other:
        async with (
            other.listen(channels(secret, room), Cookie=ada) as hers,
            other.listen(channels(room), Cookie=ada) as another,
            migrated.listen(channels(secret), Cookie=eve) as his,
        ):
            for stream in (hers, another, his):
                assert (await next_event(stream)).type == OPEN
            await migrated.do(
                "from django.contrib.auth.models import User\n"
                f"user = User.objects.get(username='ada-{room}')\n"
                "user.is_active = False\nuser.save()\n"
                f"channel_permission_changed(user, {secret!r})"
            )
            event = await next_event(hers)
            assert (event.type, event.id) == (ERROR, "error")
            assert json.loads(event.data)["channels"] == [secret]
            with pytest.raises(EOFError):
                await next_event(hers)
            await migrated.send(secret, "his")
            assert (await next_event(his)).data == '"his"'
            await migrated.send(room, "hers")
            assert (await next_event(another)).data == '"hers"'


async def test_keep_alives_carry_the_current_id(migrated: Site, room: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        opening = await next_event(stream)
        await migrated.send("another channel", 1)
        while (event := await stream.next()).id == opening.id:
            assert (event.type, event.data) == ("keep-alive", "")
    assert event.type == "keep-alive"


@pytest.mark.parametrize(
    "path", ["/rooms/{}/events/", "/channels/room-{}/events/", "/events/?channel=room-{}"]
)
async def test_the_url_names_channels_in_the_same_ways(
    migrated: Site, room: str, path: str
) -> None:
    async with migrated.listen(path.format(room)) as stream:
        await next_event(stream)
        await migrated.send(f"room-{room}", "x")
        assert (await next_event(stream)).data == '"x"'


def test_a_query_that_cannot_be_read_is_a_problem_and_no_traceback(migrated: Site) -> None:
    before = migrated.web.log.stat().st_size
    status, body = migrated.web.get("/events/?" + "channel=a&" * 1_001)
    assert (status, body["status"]) == (400, 400)
    assert "cannot be read" in body["detail"]
    assert "Traceback" not in migrated.web.log.read_text()[before:]


async def test_a_burst_is_complete(migrated: Site, room: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        await next_event(stream)
        await migrated.do(f"for n in range(300): send_event({room!r}, 'message', n)")
        assert await data_of(stream, 300) == [str(n) for n in range(300)]


async def test_our_publish_reaches_a_channel_of_the_same_name(migrated: Site, room: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        await next_event(stream)
        await migrated.do(f"import notifications; notifications.publish({room!r}, {{'a': 1}})")
        event = await next_event(stream)
    assert (event.type, event.data) == ("message", '{"a":1}')


async def test_get_events_answers_from_the_log(migrated: Site, room: str) -> None:
    await migrated.do(
        "from django_eventstream.utils import get_storage\n"
        "from django_eventstream.storage import EventDoesNotExist\n"
        "storage = get_storage()\n"
        f"begin = storage.get_current_id({room!r})\n"
        f"for n in range(5): send_event({room!r}, 'type', n); send_event('x', 'type', n)\n"
        f"events = storage.get_events({room!r}, begin)\n"
        "assert [event.data for event in events] == list('01234'), events\n"
        f"assert {{(event.channel, event.type) for event in events}} == {{({room!r}, 'type')}}\n"
        f"assert storage.get_events({room!r}, events[2].id, limit=1) == [events[3]]\n"
        "assert events[0].id < events[1].id\n"
        "for unknown in (5, begin + 2**100):\n"
        "    try: storage.get_events('x', unknown)\n"
        "    except EventDoesNotExist as error: assert error.current_id >= events[-1].id\n"
        "    else: raise AssertionError(unknown)\n"
    )


async def test_cors_follows_the_settings_and_checks_the_origin_header_too(
    migrated: Site, room: str
) -> None:
    origin = "https://elsewhere.example"
    async with migrated.listen(channels(room), Origin=origin) as stream:
        assert stream.headers["access-control-allow-origin"] == origin
        assert stream.headers["access-control-allow-credentials"] == "true"
        assert stream.headers["access-control-allow-headers"] == "Authorization"
        assert "Origin" in stream.headers["vary"]  # or a cache hands it to another origin
    async with migrated.listen(channels(room), Origin="https://evil.example") as stream:
        assert "access-control-allow-origin" not in stream.headers
    status, headers, body = await asyncio.to_thread(
        migrated.web.request, "OPTIONS", channels(room), headers={"Origin": origin}
    )
    assert (status, body) == (200, b"")
    assert headers["access-control-allow-origin"] == origin
