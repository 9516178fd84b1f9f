"""The response of a view that makes a file while it is being sent."""

from collections.abc import AsyncGenerator

from django.utils.http import content_disposition_header

from notifications.streaming.unbuffered import UnbufferedResponse


class StreamedFile(UnbufferedResponse):
    """Streams what an async generator yields, to be shown or, under a `filename`, to be kept.

    The name may be any text: what a header cannot say as it is, it says as RFC 6266 has it.
    """

    def __init__(
        self, source: AsyncGenerator[bytes], *, content_type: str, filename: str | None = None
    ) -> None:
        super().__init__(source, content_type=content_type)
        self["X-Content-Type-Options"] = "nosniff"
        if filename is not None:
            plain = "".join(each if each.isprintable() else "_" for each in filename)
            disposition = content_disposition_header(as_attachment=True, filename=plain)
            self["Content-Disposition"] = disposition or "attachment"
