"""`/examples/notes/`: a visitor's notes, live in all their tabs, with each of four libraries.

The notes are in the visitor's session. A form posts, the server renders the change once, and every
page that is open puts it in: `?as=htmx` (2), `htmx4`, `turbo` or `datastar`. The libraries are not
ours: `npm --prefix demo ci` puts them into `demo/static/demo/lib`. The page says if one is missing.
"""

import secrets
from dataclasses import dataclass
from typing import Any

from django.contrib.staticfiles import finders
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.templatetags.static import static
from django.views import View

from notifications import publish_html
from notifications.errors import CarillonError
from notifications.views.problems import problem_or_page
from notifications.views.security_headers import CONTENT_SECURITY_POLICY, protect

MAX_NOTES = 50
MAX_CHARACTERS = 200
FOLDER = "demo/lib"
"""The libraries, among the static files."""


@dataclass(frozen=True, slots=True)
class Library:
    title: str
    files: tuple[str, ...]
    allowance: tuple[str, str] = ("style-src", "'unsafe-inline'")
    """What it needs of a Content-Security-Policy: Turbo and htmx add a style."""

    @property
    def policy(self) -> str:
        directive, source = self.allowance
        own = f"{directive} 'self'"
        return CONTENT_SECURITY_POLICY.replace(own, f"{own} {source}")

    def urls(self) -> list[str]:
        """Where the files are served; none if one is missing."""
        names = [f"{FOLDER}/{name}" for name in self.files]
        try:
            return [static(name) for name in names] if all(map(finders.find, names)) else []
        except ValueError:  # put there after `collectstatic`
            return []


LIBRARIES = {
    "htmx": Library("htmx 2", ("htmx-2.js", "htmx-2-sse.js")),
    "htmx4": Library("htmx 4", ("htmx-4.js", "htmx-4-sse.js")),
    "turbo": Library("Turbo", ("turbo.js",)),
    # It makes functions of its attributes, which is `eval`.
    "datastar": Library("Datastar", ("datastar.js",), ("script-src", "'unsafe-eval'")),
}


class Notes(View):
    def get(self, request: HttpRequest) -> HttpResponseBase:
        name = request.GET.get("as", "htmx")
        if name not in LIBRARIES:
            raise Http404
        library = LIBRARIES[name]
        context = {
            "name": name,
            "library": library,
            "scripts": library.urls(),
            "libraries": LIBRARIES,
            "notes": _notes(request),
            "topic": _topic(request),
        }
        page = protect(render(request, "demo/notes.html", context))
        page.headers["Content-Security-Policy"] = library.policy
        return page

    def post(self, request: HttpRequest) -> HttpResponseBase:
        """Add a note, or remove one. 204: the page stays, and its stream shows the change."""
        try:
            if "remove" in request.POST:
                _remove(request, request.POST["remove"])
            elif text := request.POST.get("text", "").strip()[:MAX_CHARACTERS]:
                _add(request, text)
        except CarillonError as error:
            return problem_or_page(request, error)
        return HttpResponse(status=204)


def _topic(request: HttpRequest) -> str:
    name = request.session.setdefault("notes_topic", secrets.token_urlsafe(16))
    return f"examples.notes.{name}"


def _notes(request: HttpRequest) -> list[dict[str, str]]:
    notes: list[dict[str, str]] = request.session.get("notes", [])
    return notes


def _keep(request: HttpRequest, notes: list[dict[str, str]]) -> None:
    """Save first and publish after: who loads the page between the two has the note once."""
    request.session["notes"] = notes
    request.session.save()


def _add(request: HttpRequest, text: str) -> None:
    note = {"id": f"note-{secrets.token_hex(4)}", "text": text}
    notes = [*_notes(request), note]
    if len(notes) > MAX_NOTES:
        _remove(request, notes[0]["id"])
        notes = notes[1:]
    _keep(request, notes)
    publish_html(_topic(request), "demo/note.html", {"note": note}, target="notes", swap="append")
    _publish_count(request)


def _remove(request: HttpRequest, id: str) -> None:
    notes = _notes(request)
    if any(note["id"] == id for note in notes):
        _keep(request, [note for note in notes if note["id"] != id])
        publish_html(_topic(request), "demo/note.html", target=id, swap="remove")
        _publish_count(request)


def _publish_count(request: HttpRequest) -> None:
    context: dict[str, Any] = {"notes": _notes(request)}
    publish_html(_topic(request), "demo/note_count.html", context, target="count")
