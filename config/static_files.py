"""WhiteNoise, without keeping every other request in a thread: it is only synchronous itself."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from inspect import iscoroutinefunction, markcoroutinefunction

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase, StreamingHttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware

from notifications.asgi.routes import runs_on_loop


@runs_on_loop
class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Only what is asked for under `STATIC_URL` is looked for, and read, in a thread."""

    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Awaitable[HttpResponseBase]]) -> None:
        super().__init__(get_response)
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if not iscoroutinefunction(self):
            answer: HttpResponseBase = super().__call__(request)
            return answer
        if request.path_info.startswith(self.static_prefix):
            return self._from_disk(request)
        passed: Awaitable[HttpResponseBase] = self.get_response(request)
        return passed

    async def _from_disk(self, request: HttpRequest) -> HttpResponseBase:
        response = await sync_to_async(self._found)(request)
        if response is None:
            passed: HttpResponseBase = await self.get_response(request)
            return passed
        response.streaming_content = _read(iter(response))
        return response

    def _found(self, request: HttpRequest) -> StreamingHttpResponse | None:
        path = request.path_info
        file = self.find_file(path) if self.autorefresh else self.files.get(path)
        return None if file is None else self.serve(file, request)


async def _read(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    take = sync_to_async(lambda: next(chunks, b""))
    while chunk := await take():
        yield chunk
