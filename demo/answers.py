"""Canned answers to the chat's questions, word by word, as a language model writes them."""

import asyncio
import re
from collections.abc import AsyncGenerator

WORD_PAUSE_SECONDS = 0.06

ANSWERS = {
    r"script|javascript|how": (
        "No script runs here. The server sends this page and does not end it: each word "
        "is a little more HTML, and a browser shows HTML as it comes. The form below was "
        "sent before the first word, and a declarative shadow root puts it under the "
        "answer, which is still to come."
    ),
    r"screen ?reader|accessib|blind": (
        "The answer is a log in the sense of ARIA: new words are read out when the "
        "screen reader has nothing else to read. The focus stays in the question, ready for the "
        "next, and a status says when the answer is whole."
    ),
    r"stop|leave|close": (
        "Follow the link that says Stop, or go anywhere else. The connection closes, the "
        "server notices, and the generator of these words is closed where it is."
    ),
    r"[<>&]|inject|safe|xss": (
        "Whatever you write, and whatever I answer, goes through the template's "
        "autoescaping, word by word, so that <script>alert(1)</script> is only text. The "
        "Content-Security-Policy would not let it run either."
    ),
}
FALLBACK_ANSWER = (
    "I know four things: how this works without JavaScript, what a screen reader makes "
    "of it, how to stop me, and whether <b>markup</b> is safe here. Ask about one of "
    "them, or give this page a source of words that knows more."
)


async def answer(
    question: str, *, pause_seconds: float = WORD_PAUSE_SECONDS
) -> AsyncGenerator[str]:
    """The words of an answer, each with the space before it."""
    text = f"You asked: “{question}” " + _canned_answer(question)
    for word in re.findall(r"\s*\S+", text):
        await asyncio.sleep(pause_seconds)
        yield word


def _canned_answer(question: str) -> str:
    for pattern, text in ANSWERS.items():
        if re.search(pattern, question, re.IGNORECASE):
            return text
    return FALLBACK_ANSWER
