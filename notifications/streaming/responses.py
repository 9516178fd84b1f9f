"""A response that is made as it is sent, and ends when its client leaves."""

from collections.abc import AsyncGenerator, AsyncIterator

from django.http import StreamingHttpResponse
from django.utils.http import content_disposition_header


class SteadyResponse(StreamingHttpResponse):
    """Streams what an async generator yields, and closes that at the end, whoever ends it.

    `filename` may be any text: what a header cannot say as it is, it says as RFC 6266 has it.
    """

    def __init__(
        self, source: AsyncGenerator[bytes], *, content_type: str, filename: str | None = None
    ) -> None:
        super().__init__(source, content_type=content_type)
        self._source = source
        # A proxy that held it back would take all of it, and say nothing until then.
        self["X-Accel-Buffering"] = "no"
        self["X-Content-Type-Options"] = "nosniff"
        if filename is not None:
            plain = "".join(each if each.isprintable() else "_" for each in filename)
            disposition = content_disposition_header(as_attachment=True, filename=plain)
            self["Content-Disposition"] = disposition or "attachment"

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Django's own wraps the source in a generator that is not closed when the client vanishes
        # while a send is blocked (ticket 37066).
        untouched = vars(self)["_iterator"] is self._source
        return self._source if untouched else super().__aiter__()
