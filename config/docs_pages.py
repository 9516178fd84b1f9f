"""`/docs/`: the pages of docs/, as they belong to the version that runs."""

import mimetypes
from functools import cache

import markdown
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import mark_safe
from markdown.extensions.tables import TableExtension

from config.documentation import OUTSIDE
from config.variables import BASE_DIR
from notifications.views.security_headers import protect

FOLDER = BASE_DIR / "docs"
FIRST_PAGE = "index.md"
# A style in a cell would be against the policy of the page.
EXTENSIONS = ("fenced_code", "sane_lists", "toc", TableExtension(use_align_attribute=True))


def docs_page(request: HttpRequest, name: str = FIRST_PAGE) -> HttpResponse:
    """A page as HTML; another file of the folder as it is."""
    file = FOLDER / name
    if not file.is_file():  # the URL has no slash in this part
        raise Http404(name)
    if file.suffix != ".md":
        kind = mimetypes.guess_type(name)[0] or "text/plain"
        return HttpResponse(file.read_bytes(), content_type=kind)
    title, content = _page(name)
    context = {"title": title, "content": mark_safe(content)}  # noqa: S308 - our own text
    return protect(render(request, "carillon/document.html", context))


@cache
def _page(name: str) -> tuple[str, str]:
    """The title of a page, and its HTML."""
    text = OUTSIDE.sub(r"\1", (FOLDER / name).read_text(encoding="utf-8"))
    heading = text.partition("\n")[0].removeprefix("# ")
    return heading, markdown.markdown(text, extensions=EXTENSIONS)
