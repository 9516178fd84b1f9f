"""What django-eventstream's API and clients are promised, with none of its defects."""

import asyncio
import json

import pytest

from tests.unit.compat.chat import Project, Site, channels, data_of, heard

OPEN, RESET, ERROR = "stream-open", "stream-reset", "stream-error"


async def test_send_event_reaches_a_stream_with_its_type_and_an_id(
    migrated: Site, room: str
) -> None:
    async with migrated.listen(channels(room)) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        opening = await heard(stream)
        assert (opening.type, opening.data) == (OPEN, "")
        await migrated.send(room, {"text": "ü"}, "said")
        event = await heard(stream)
    assert (event.type, json.loads(event.data)) == ("said", {"text": "ü"})
    channel, _, number = event.id.partition(":")
    assert channel == room
    assert int(number) > int(opening.id.partition(":")[2])


@pytest.mark.parametrize("type", ["error", "open", "stream.reset", "", "eventstream:x"])
async def test_a_type_of_any_name_arrives(migrated: Site, room: str, type: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        await heard(stream)
        await migrated.send(room, "x", type)
        assert (await heard(stream)).type == (type or "message")


async def test_text_of_several_lines_arrives_as_it_is(migrated: Site, room: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        await heard(stream)
        await migrated.send(room, "a\r\nb\rc\nd", json_encode=False)
        await migrated.send(room, 7, json_encode=False)
        assert await data_of(stream, 2) == ["a\nb\nc\nd", "7"]


async def test_another_process_sends_and_is_heard(
    migrated: Site, migrated_project: Project, room: str
) -> None:
    async with migrated.listen(channels(room, f"typing-{room}")) as stream:
        await heard(stream)
        await asyncio.to_thread(
            migrated_project.python,
            "from django_eventstream import send_event\n"
            f"send_event({room!r}, 'message', 1); send_event('typing-{room}', 'message', 2)",
        )
        assert await data_of(stream, 2) == ["1", "2"]


@pytest.mark.parametrize("how", ["Last-Event-ID", "lastEventId"])
async def test_a_stream_goes_on_where_its_client_was(migrated: Site, room: str, how: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        await heard(stream)
        await migrated.do(f"for n in range(30): send_event({room!r}, 'message', n)")
        events = [await heard(stream) for _ in range(30)]
    assert [event.data for event in events] == [str(n) for n in range(30)]
    back = (
        migrated.listen(channels(room), **{how: events[9].id})
        if how == "Last-Event-ID"
        else migrated.listen(channels(room, lastEventId=events[9].id))
    )
    async with back as stream:
        assert (await heard(stream)).id == events[9].id
        rest = [await heard(stream) for _ in range(20)]
    assert rest == events[10:]


async def test_of_several_parameters_the_last_that_says_something_counts(
    migrated: Site, room: str
) -> None:
    """The JavaScript client leaves the page's own in its URL and appends what it had since."""
    async with migrated.listen(channels(room)) as stream:
        first = (await heard(stream)).id
        await migrated.send(room, 1)
        then = (await heard(stream)).id
    await migrated.send(room, 2)
    path = channels(room, lastEventId=first) + f"&lastEventId={then}&lastEventId="
    async with migrated.listen(path) as stream:
        assert await data_of(stream, 2) == ["", "2"]


async def test_whoever_is_cut_off_before_the_first_event_misses_nothing(
    migrated: Site, room: str
) -> None:
    async with migrated.listen(channels(room)) as stream:
        opening = await heard(stream)
    await migrated.send(room, "meanwhile")
    async with migrated.listen(channels(room), Last_Event_ID=opening.id) as stream:
        assert await data_of(stream, 2) == ["", '"meanwhile"']


async def test_the_current_id_is_where_a_page_begins(migrated: Site, room: str) -> None:
    await migrated.send(room, "before")
    last = await migrated.do(f"result = get_current_event_id([{room!r}, 'other'])")
    assert [part.split(":")[0] for part in last.split(",")] == [room, "other"]
    await migrated.send(room, "after")
    async with migrated.listen(channels(room, "other", lastEventId=last)) as stream:
        assert await data_of(stream, 2) == ["", '"after"']


async def test_each_channel_goes_on_from_its_own_id(migrated: Site, room: str) -> None:
    a, b = f"{room}-a", f"{room}-b"
    first = await migrated.do(f"result = get_current_event_id([{a!r}])")
    for number, channel in enumerate([a, b, a, b]):
        await migrated.send(channel, number)
    then = await migrated.do(f"result = get_current_event_id([{b!r}])")
    await migrated.send(b, 4)
    async with migrated.listen(channels(a, b, lastEventId=f"{first},{then}")) as stream:
        opening = await heard(stream)
        assert opening.id == f"{first},{then}"
        events = [await heard(stream) for _ in range(3)]
    assert [event.data for event in events] == ["0", "2", "4"]
    # Cut here, the client would neither miss nor repeat anything.
    assert events[0].id.split(",")[1] == then


@pytest.mark.parametrize("number", ["abc", "-1", "12", "9" * 5000, "٣"])
async def test_an_id_that_is_not_known_is_a_reset_of_that_channel_alone(
    migrated: Site, room: str, number: str
) -> None:
    good = await migrated.do(f"result = get_current_event_id([{room!r}])")
    await migrated.send(room, "kept")
    path = channels(room, "other", lastEventId=f"{good},other:{number}")
    async with migrated.listen(path) as stream:
        assert (await heard(stream)).type == OPEN
        reset = await heard(stream)
        assert (reset.type, json.loads(reset.data)) == (RESET, {"channels": ["other"]})
        assert (await heard(stream)).data == '"kept"'
        await migrated.send("other", "from here on")
        assert (await heard(stream)).data == '"from here on"'


@pytest.mark.parametrize("text", ["nonsense", "a:1:2", "a:1,", ":::"])
async def test_an_id_of_another_form_is_answered(migrated: Site, room: str, text: str) -> None:
    async with migrated.listen(channels(room, lastEventId=text)) as stream:
        said = await heard(stream)
    assert (stream.status, said.type, said.id) == (200, ERROR, "error")
    assert json.loads(said.data)["condition"] == "bad-request"


async def test_0_is_the_beginning_as_long_as_that_is_kept(migrated: Site, room: str) -> None:
    await migrated.send(room, "first")
    async with migrated.listen(channels(room, lastEventId=f"{room}:0")) as stream:
        assert await data_of(stream, 2) == ["", '"first"']


async def test_a_channel_that_is_not_reliable_is_live_and_has_no_ids(
    migrated: Site, room: str
) -> None:
    typing = f"typing-{room}"
    async with migrated.listen(channels(typing)) as stream:
        assert (await heard(stream)).id == ""
        await migrated.send(typing, "eve")
        event = await heard(stream)
    assert (event.data, event.id) == ('"eve"', "")
    async with migrated.listen(channels(typing, room, lastEventId=f"{typing}:0")) as stream:
        opening = await heard(stream)
        assert (opening.type, opening.id.partition(":")[0]) == (OPEN, room)
        await migrated.send(typing, "ada")
        event = await heard(stream)
    assert (event.data, event.id.partition(":")[0]) == ('"ada"', room)


@pytest.mark.parametrize("kind", ["", "typing-"])
async def test_who_is_to_be_skipped_is(migrated: Site, room: str, kind: str) -> None:
    channel = kind + room
    cookie = await migrated.log_in("ada")
    ada = await migrated.do(
        "from django.contrib.auth.models import User\nresult = User.objects.get(username='ada').pk"
    )
    async with (
        migrated.listen(channels(channel), Cookie=cookie) as hers,
        migrated.listen(channels(channel)) as others,
    ):
        await heard(hers)
        await heard(others)
        await migrated.send(channel, 1, skip_user_ids=[ada])
        await migrated.send(channel, 2, skip_user_ids=[int(ada)])
        await migrated.send(channel, 3, skip_user_ids=["anonymous"])
        await migrated.send(channel, 4)
        assert await data_of(hers, 2) == ["3", "4"]
        assert await data_of(others, 3) == ["1", "2", "4"]


async def test_who_may_not_read_a_channel_is_told_and_does_not_come_back(
    migrated: Site, room: str
) -> None:
    secret = f"_{room}"
    async with migrated.listen(channels(room, secret)) as stream:
        said = await heard(stream)
    assert (said.type, said.id) == (ERROR, "error")
    assert json.loads(said.data) == {
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
                assert (await heard(stream)).type == OPEN
            await migrated.do(
                "from django.contrib.auth.models import User\n"
                f"user = User.objects.get(username='ada-{room}')\n"
                "user.is_active = False\nuser.save()\n"
                f"channel_permission_changed(user, {secret!r})"
            )
            said = await heard(hers)
            assert (said.type, said.id) == (ERROR, "error")
            assert json.loads(said.data)["channels"] == [secret]
            with pytest.raises(EOFError):
                await heard(hers)
            await migrated.send(secret, "his")
            assert (await heard(his)).data == '"his"'
            await migrated.send(room, "hers")
            assert (await heard(another)).data == '"hers"'


async def test_keep_alives_say_where_a_quiet_stream_is(migrated: Site, room: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        opening = await heard(stream)
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
        await heard(stream)
        await migrated.send(f"room-{room}", "x")
        assert (await heard(stream)).data == '"x"'


def test_a_query_that_cannot_be_read_is_a_problem_and_no_traceback(migrated: Site) -> None:
    before = migrated.web.log.stat().st_size
    status, said = migrated.web.get("/events/?" + "channel=a&" * 1_001)
    assert (status, said["status"]) == (400, 400)
    assert "cannot be read" in said["detail"]
    assert "Traceback" not in migrated.web.log.read_text()[before:]


async def test_a_burst_is_complete(migrated: Site, room: str) -> None:
    async with migrated.listen(channels(room)) as stream:
        await heard(stream)
        await migrated.do(f"for n in range(300): send_event({room!r}, 'message', n)")
        assert await data_of(stream, 300) == [str(n) for n in range(300)]


async def test_pages_of_the_same_topic_hear_it_natively_and_the_other_way_round(
    migrated: Site, room: str
) -> None:
    async with migrated.listen(channels(room)) as stream:
        await heard(stream)
        await migrated.do(f"import notifications; notifications.publish({room!r}, {{'a': 1}})")
        event = await heard(stream)
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


async def test_cors_is_set_as_there_and_by_the_origin_too(migrated: Site, room: str) -> None:
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
