"""The form on the page at `/` that sends a notification to another person of this site.

Only with `DEBUG`: it tells each person the names of all others.
"""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject
from django.views import View

from notifications import notify
from notifications.errors import CarillonError, Forbidden, Invalid
from notifications.views.problems import problem

MAX_PEOPLE = 100
MAX_CHARACTERS = 200


def people(request: HttpRequest) -> dict[str, Any]:
    """A context processor. Nothing is read unless the page shows the form.

    The visitor is the last one of the people.
    """

    def others_first() -> list[Any]:
        return sorted(_people(), key=lambda user: user == request.user)

    return {"people": SimpleLazyObject(others_first)} if settings.DEBUG else {}


def _people() -> list[Any]:
    users = User.objects.filter(is_active=True)
    return list(users.order_by("pk")[:MAX_PEOPLE])


class Send(View):
    def post(self, request: HttpRequest) -> HttpResponse:
        """Notify a person. 204: the form stays, and the bell of the other person shows it."""
        try:
            self._send(request)
        except CarillonError as error:
            return problem(request, error)
        return HttpResponse(status=204)

    def _send(self, request: HttpRequest) -> None:
        if not (settings.DEBUG and request.user.is_authenticated):
            raise Forbidden("Log in to a site with DEBUG.")
        text = request.POST.get("text", "").strip()[:MAX_CHARACTERS]
        recipient = next(
            (user for user in _people() if str(user.pk) == request.POST.get("recipient")), None
        )
        if recipient is None or not text:
            raise Invalid("Choose a person, and write a text.", field="recipient")
        notify(recipient, "message", {"text": f"{request.user.get_username()}: {text}"}, url="/")
