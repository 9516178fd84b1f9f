"""Writes token streams to one topic, and reads the events of that topic."""

import asyncio
import json
from typing import Any

from notifications.streaming import TokenStream, token_stream
from tests.harness.published import read_published

TOPIC = "demo.chat.5.answer"
DEADLINE_SECONDS = 60.0
WORDS = [f"word {i} " for i in range(200)]


async def published() -> list[tuple[str, dict[str, Any]]]:
    return [
        ((entry.type or b"").decode(), json.loads(entry.data))
        for entry in await read_published()
        if entry.topics == (TOPIC,)
    ]


def text_of(events: list[tuple[str, dict[str, Any]]]) -> str:
    """The text. Each piece has its position, so a missing one fails."""
    text = ""
    for kind, data in events:
        if kind == "token":
            assert data["at"] == len(text)
            text += data["text"]
    return text


async def write(words: list[str], **options: Any) -> TokenStream:
    async with token_stream(TOPIC, **options) as out:
        for word in words:
            await out.send(word)
    return out


async def send_until_stopped(out: TokenStream) -> None:
    """Send text until a reader stops it, as a model without an end."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            await out.send("and ")
            await asyncio.sleep(0)
