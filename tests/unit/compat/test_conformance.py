"""Each scenario runs against the view of django-eventstream and ours, and the bytes are equal."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine

import pytest

from tests.harness.event_source import Stream
from tests.unit.compat.chat import Site, channels

PADDING = b":" + b" " * 2048

type Block = tuple[str, ...]
type Script = Callable[["RecordingClient"], Coroutine[None, None, None]]


class RecordingClient:
    """Reads streams and records their blocks, with ids replaced by the channels in them."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.transcript: list[Block] = []
        self.ids: list[str] = []

    async def read(self, stream: Stream, count: int) -> None:
        """Record this many blocks. Keep-alives and comments are skipped."""
        blocks = self._blocks(stream)
        for _ in range(count):
            block = await anext(blocks, None)
            self.transcript.append(("end",) if block is None else self._normalized(block))

    async def _blocks(self, stream: Stream) -> AsyncIterator[list[str]]:
        text = b""
        while True:
            while b"\n\n" in text:
                block, _, text = text.partition(b"\n\n")
                if not block.startswith((b":", b"event: keep-alive")):
                    yield block.decode().split("\n")
            piece = await stream.read()
            if not piece:
                return
            text += piece

    def _normalized(self, lines: list[str]) -> Block:
        normalized = []
        for line in lines:
            name, _, value = line.partition(": ")
            if name == "id" and value != "error":
                self.ids.append(value)
                channel_names = sorted(part.split(":")[0] for part in value.split(","))
                line = f"id of {', '.join(channel_names)}"
            normalized.append(line)
        return tuple(normalized)


async def events_of_several_kinds(client: RecordingClient) -> None:
    site = client.site
    async with site.listen("/rooms/x/events/") as stream:
        await client.read(stream, 1)
        kinds: list[tuple[str, object]] = [("message", {"n": 1.5}), ("joined", None), ("a b", "ü")]
        for type, data in kinds:
            await site.send("room-x", data, type)
            await client.read(stream, 1)
        for text in ("a\nb\r\nc\rd", "", " leading", "{}"):
            await site.send("room-x", text, json_encode=False)
            await client.read(stream, 1)
        await site.send("typing-x", "eve", "typing")
        await client.read(stream, 1)


async def a_type_with_line_breaks(client: RecordingClient) -> None:
    async with client.site.listen(channels("breaks")) as stream:
        await client.read(stream, 1)
        await client.site.send("breaks", 1, "a\r\nid: forged")
        await client.read(stream, 1)


async def a_client_that_comes_back(client: RecordingClient) -> None:
    site = client.site
    async with site.listen(channels("back")) as stream:
        await client.read(stream, 1)
        for number in range(3):
            await site.send("back", number)
            await client.read(stream, 1)
    async with site.listen(channels("back"), Last_Event_ID=client.ids[-3]) as stream:
        await client.read(stream, 3)
        await site.send("back", 3)
        await client.read(stream, 1)
    path = channels("back", lastEventId=client.ids[-1])
    async with site.listen(path) as stream:
        await client.read(stream, 1)


async def an_unknown_id(client: RecordingClient) -> None:
    await client.site.send("lost", 1)
    async with client.site.listen(channels("lost", lastEventId="lost:987654321")) as stream:
        await client.read(stream, 2)


async def two_channels(client: RecordingClient) -> None:
    async with client.site.listen(channels("one", "two/2 ü")) as stream:
        await client.read(stream, 1)
        await client.site.send("two/2 ü", 2)
        await client.read(stream, 1)
        await client.site.send("one", 1)
        await client.read(stream, 1)


async def refusals(client: RecordingClient) -> None:
    many = [str(number) for number in range(11)]
    for path in (
        "/events/",
        channels(*many),
        channels("a", lastEventId="nonsense"),
        channels("_a"),
    ):
        async with client.site.listen(path) as stream:
            client.transcript.append((str(stream.status), stream.headers["content-type"]))
            await client.read(stream, 2)


async def a_client_that_comes_back_after_an_error(client: RecordingClient) -> None:
    status, headers, body = await asyncio.to_thread(
        client.site.web.request, "GET", channels("a"), headers={"Last-Event-ID": "error"}
    )
    client.transcript.append((str(status), headers["content-type"], body.decode()))


async def a_permission_that_ends(client: RecordingClient) -> None:
    cookie = await client.site.log_in("conforming")
    async with client.site.listen(channels("_secret"), Cookie=cookie) as stream:
        await client.read(stream, 1)
        await client.site.do(
            "from django.contrib.auth.models import User\n"
            "user = User.objects.get(username='conforming')\n"
            "user.is_active = False\n"
            "channel_permission_changed(user, '_secret')\n"
        )
        await client.read(stream, 1)  # the stock view may keep the stream open


async def headers_of_a_stream(client: RecordingClient) -> None:
    referer = "https://elsewhere.example/page"
    async with client.site.listen(channels("a"), Referer=referer) as stream:
        client.transcript.append(
            tuple(
                f"{name}: {value}"
                for name, value in sorted(stream.headers.items())
                if name.startswith(("access-control", "content-type", "x-accel"))
            )
        )
        client.transcript.append((str((await stream.read(len(PADDING))) == PADDING),))


SCRIPTS: list[Script] = [
    events_of_several_kinds,
    a_type_with_line_breaks,
    a_client_that_comes_back,
    an_unknown_id,
    two_channels,
    refusals,
    a_client_that_comes_back_after_an_error,
    a_permission_that_ends,
    headers_of_a_stream,
]


def without_our_additions(block: Block) -> Block:
    """Our opening block has an id and a retry time. No other block differs."""
    if block[0] != "event: stream-open":
        return block
    return tuple(line for line in block if not line.startswith(("id of ", "retry: ")))


def with_space_after_empty_data(block: Block) -> Block:
    """`data:` and `data: ` are the same to every parser."""
    return tuple("data: " if line == "data:" else line for line in block)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
async def test_both_send_the_same_blocks(stock: Site, migrated: Site, script: Script) -> None:
    theirs, ours = RecordingClient(stock), RecordingClient(migrated)
    await script(theirs)
    await script(ours)
    assert theirs.transcript
    assert [
        with_space_after_empty_data(without_our_additions(block)) for block in ours.transcript
    ] == [with_space_after_empty_data(block) for block in theirs.transcript]


async def test_only_the_opening_block_differs(stock: Site, migrated: Site) -> None:
    theirs, ours = RecordingClient(stock), RecordingClient(migrated)
    for client in (theirs, ours):
        async with client.site.listen(channels("opening")) as stream:
            await client.read(stream, 1)
    assert theirs.transcript == [("event: stream-open", "data:")]
    [(event, retry, id, data)] = ours.transcript
    assert (event, id, data) == ("event: stream-open", "id of opening", "data:")
    assert 2_000 <= int(retry.removeprefix("retry: ")) <= 5_000
