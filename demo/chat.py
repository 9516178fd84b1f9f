"""`/examples/chat/`: a question, and an answer that appears word by word, without a script.

With `?live=1` the answer is written into a topic, and an `EventSource` reads it from there.
"""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from demo.answers import answer
from demo.live import LiveAnswers
from notifications.streaming import UnbufferedResponse, stream_template
from notifications.views.security_headers import protect

MAX_CHARACTERS = 500


class Chat(View):
    """`Chat.as_view(source=…)` answers by any async generator of text that takes a question."""

    source = staticmethod(answer)
    live_answers = LiveAnswers()
    template_name = "demo/chat.html"

    async def get(self, request: HttpRequest) -> HttpResponseBase:
        question = request.GET.get("question", "").strip()[:MAX_CHARACTERS]
        if "live" in request.GET:
            return self.live_answers.show_page(request, question)
        if request.method == "HEAD":
            return protect(UnbufferedResponse())
        context = {
            "question": question,
            "words": self.source(question) if question else None,
            "max_characters": MAX_CHARACTERS,
        }
        return protect(UnbufferedResponse(stream_template(request, self.template_name, context)))

    async def post(self, request: HttpRequest) -> HttpResponseBase:
        """A form of the live page: ask a question, or stop an answer."""
        question = request.POST.get("question", "").strip()[:MAX_CHARACTERS]
        words = self.source(question) if question else None
        return await self.live_answers.handle_form(request, question, words)
