"""`/examples/chat/`: a question, and an answer that appears word by word, with no script at all."""

from django.http import HttpRequest
from django.views import View

from notifications.examples import answers
from notifications.streaming import UnbufferedResponse, stream_template
from notifications.views.policy import protect

MAX_CHARACTERS = 500


class Chat(View):
    """`Chat.as_view(source=…)` answers by any async generator of text that takes a question."""

    source = staticmethod(answers.answer)
    template_name = "carillon/examples/chat.html"

    async def get(self, request: HttpRequest) -> UnbufferedResponse:
        question = request.GET.get("question", "").strip()[:MAX_CHARACTERS]
        context = {
            "question": question,
            "words": self.source(question) if question else None,
            "max_characters": MAX_CHARACTERS,
        }
        return protect(UnbufferedResponse(stream_template(request, self.template_name, context)))
