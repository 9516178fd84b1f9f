"""`/examples/chat/`: a question, and an answer that appears word by word, with no script at all.

With `?live=1` it is written into a topic, and read from there by an `EventSource`.
"""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from demo import answers
from demo.live import answer_live
from notifications.streaming import UnbufferedResponse, stream_template
from notifications.views.security_headers import protect

MAX_CHARACTERS = 500


class Chat(View):
    """`Chat.as_view(source=…)` answers by any async generator of text that takes a question."""

    source = staticmethod(answers.answer)
    template_name = "demo/chat.html"

    async def get(self, request: HttpRequest) -> HttpResponseBase:
        question = request.GET.get("question", "").strip()[:MAX_CHARACTERS]
        if "live" in request.GET:
            return await answer_live(request, question, None)
        if request.method == "HEAD":
            return protect(UnbufferedResponse())
        context = {
            "question": question,
            "words": self.source(question) if question else None,
            "max_characters": MAX_CHARACTERS,
        }
        return protect(UnbufferedResponse(stream_template(request, self.template_name, context)))

    async def post(self, request: HttpRequest) -> HttpResponseBase:
        """To the live one."""
        question = request.POST.get("question", "").strip()[:MAX_CHARACTERS]
        words = self.source(question) if question else None
        return await answer_live(request, question, words)
