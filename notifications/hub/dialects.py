"""The dialects of HTML streams: the encoders for pages of htmx, Turbo and Datastar.

An event that is marked as HTML has a `Swap`, and each dialect says in its library's words where the
HTML goes. Events without the mark are left out: their data is anybody's, and a library would put it
into the page as it is. The signals of the service are as in other streams. After a reset a dialect
also puts `<carillon-reset>` into the page, an element of `static/carillon/html.js` by which the
page fetches its state again.
"""

import re
from abc import abstractmethod
from collections.abc import Collection
from functools import lru_cache
from typing import ClassVar

from notifications import sse
from notifications.errors import Invalid
from notifications.events import Swap, SwapMode
from notifications.hub.encoders import Encoder, SseEncoder, event_cursor
from notifications.log.cursors import Cursor
from notifications.log.entries import ResetReason
from notifications.log.records import Entry

_LINE_END = re.compile(r"\r\n|\r|\n")
_FIRST_TAG = re.compile(r"<([A-Za-z][^\s/>]*)")
_RESET_SWAP = Swap(".carillon-resets", SwapMode.INNER)


class DialectEncoder(SseEncoder):
    """Encodes HTML for one library, and nothing for an event that is not HTML."""

    event_type: ClassVar[bytes | None] = None

    def event(self, epoch: str, entry: Entry, topics: Collection[str]) -> bytes:
        swap = _parse_swap(entry.swap) if entry.swap else None
        if swap is None:
            return b""
        return self._block(entry.data.decode(), swap, event_cursor(epoch, entry), entry.retry)

    def reset(self, at: Cursor, reason: ResetReason) -> bytes:
        html = f'<carillon-reset reason="{reason}"></carillon-reset>'
        return super().reset(at, reason) + self._block(html, _RESET_SWAP)

    def _block(
        self, html: str, swap: Swap, id: bytes | None = None, retry: int | None = None
    ) -> bytes:
        data = self._patch(html, swap).encode()
        return sse.encode(data, id=id, type=self.event_type, retry=retry)

    @abstractmethod
    def _patch(self, html: str, swap: Swap) -> str:
        """What the library reads: where the HTML goes, and the HTML."""


@lru_cache(maxsize=1024)
def _parse_swap(text: bytes) -> Swap | None:
    """None for a mark that this version does not know: such an event is not shown as HTML."""
    try:
        return Swap.parse(text.decode())
    except Invalid:
        return None


class HtmxEncoder(DialectEncoder):
    """Out-of-band swaps (`hx-swap-oob`), which htmx 2 and 4 read alike.

    https://htmx.org/attributes/hx-swap-oob/
    """

    _styles: ClassVar[dict[str, str]] = {
        SwapMode.INNER: "innerHTML",
        SwapMode.OUTER: "outerHTML",
        SwapMode.APPEND: "beforeend",
        SwapMode.PREPEND: "afterbegin",
        SwapMode.BEFORE: "beforebegin",
        SwapMode.AFTER: "afterend",
        SwapMode.REMOVE: "delete",
    }
    # htmx strips the element around the HTML, but a parser drops a row inside a div before that.
    _parents: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("td", "th"), "tr"),
        "tr": "tbody",
        **dict.fromkeys(("tbody", "thead", "tfoot", "caption", "colgroup"), "table"),
        "col": "colgroup",
    }

    def _patch(self, html: str, swap: Swap) -> str:
        attribute = f'hx-swap-oob="{self._styles[swap.mode]}:{swap.target}"'
        if swap.mode == SwapMode.OUTER:
            # htmx keeps the element that has the attribute: it has to be the new one itself.
            return _FIRST_TAG.sub(rf"<\1 {attribute}", html, count=1)
        first = _FIRST_TAG.match(html)
        parent = self._parents.get(first[1].lower(), "div") if first else "div"
        return f"<{parent} {attribute}>{html}</{parent}>"


class TurboEncoder(DialectEncoder):
    """`<turbo-stream>` elements: https://turbo.hotwired.dev/reference/streams."""

    _actions: ClassVar[dict[str, str]] = {
        SwapMode.INNER: "update",
        SwapMode.OUTER: "replace",
        SwapMode.APPEND: "append",
        SwapMode.PREPEND: "prepend",
        SwapMode.BEFORE: "before",
        SwapMode.AFTER: "after",
        SwapMode.REMOVE: "remove",
    }

    def _patch(self, html: str, swap: Swap) -> str:
        attributes = f'action="{self._actions[swap.mode]}" targets="{swap.target}"'
        content = "" if swap.mode == SwapMode.REMOVE else f"<template>{html}</template>"
        return f"<turbo-stream {attributes}>{content}</turbo-stream>"


class DatastarEncoder(DialectEncoder):
    """Events of the type `datastar-patch-elements`: https://data-star.dev/reference/sse_events."""

    event_type = b"datastar-patch-elements"
    ends_broken_off = True

    def _patch(self, html: str, swap: Swap) -> str:
        lines = [f"selector {swap.target}", f"mode {swap.mode}"]
        if swap.mode != SwapMode.REMOVE:
            lines += [f"elements {line}" for line in _LINE_END.split(html)]
        return "\n".join(lines)


DIALECTS: dict[str, Encoder] = {
    "htmx": HtmxEncoder(),
    "turbo": TurboEncoder(),
    "datastar": DatastarEncoder(),
}
"""The encoders by the value of `?as=`."""
