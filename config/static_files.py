"""WhiteNoise as asynchronous middleware.

WhiteNoise itself is only synchronous, so that every request would be handled in a thread.
"""

import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from inspect import iscoroutinefunction, markcoroutinefunction

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase, StreamingHttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

from notifications.asgi.marker import nonblocking


@nonblocking
class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Only files below `STATIC_URL` are looked up and read in a thread."""

    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        with warnings.catch_warnings():
            # Before `collectstatic` the files are served from where they are.
            warnings.filterwarnings("ignore", message="No directory at")
            super().__init__(get_response)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if not self._is_async:
            response: HttpResponseBase = super().__call__(request)
            return response
        if request.path_info.startswith(self.static_prefix):
            return self._serve_file(request)
        awaitable: Awaitable[HttpResponseBase] = self.get_response(request)
        return awaitable

    async def _serve_file(self, request: HttpRequest) -> HttpResponseBase:
        response = await sync_to_async(self._file_response)(request)
        if response is None:
            not_a_file: HttpResponseBase = await self.get_response(request)
            return not_a_file
        response.streaming_content = _read(iter(response))
        return response

    def _file_response(self, request: HttpRequest) -> StreamingHttpResponse | None:
        path = request.path_info
        file = self.find_file(path) if self.autorefresh else self.files.get(path)
        return None if file is None else self.serve(file, request)


async def _read(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    read_chunk = sync_to_async(lambda: next(chunks, b""))
    while chunk := await read_chunk():
        yield chunk
