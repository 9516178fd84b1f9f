"""`/docs/`: each page of docs/ is a page of the project, and leads only to what is there."""

import re
from html.parser import HTMLParser
from typing import override

import pytest
from django.test import Client

from tests.harness.servers import ROOT

PAGES = sorted(file.name for file in (ROOT / "docs").glob("*.md"))
ELSEWHERE = re.compile(r"https?:|\.\./|examples/|#")
"""What is no page of docs/."""


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.styles: list[str] = []
        self.feed(text)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if link := given.get("href") if tag == "a" else given.get("src"):
            self.links.append(link)
        self.ids.add(given.get("id") or "")
        self.styles += [tag] if "style" in given else []


def page(name: str) -> Page:
    answer = Client().get(f"/docs/{name}")
    assert answer.status_code == 200, name
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    return Page(answer.content.decode())


def test_the_first_page_names_every_other() -> None:
    names = {link.partition("#")[0] for link in page("").links}
    assert names >= set(PAGES) - {"index.md"}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_leads_to_what_is_there_and_has_no_style_of_its_own(name: str) -> None:
    found = page(name)
    assert found.styles == []
    for link in found.links:
        file, _, anchor = link.partition("#")
        if link.startswith("#"):
            assert anchor in found.ids | {"main"}, link
        elif not ELSEWHERE.match(link) and not link.startswith("/"):
            answer = Client().get(f"/docs/{file}")
            assert answer.status_code == 200, link
            assert not anchor or anchor in Page(answer.content.decode()).ids, link


@pytest.mark.parametrize(
    "name", ["nothing.md", "..", "..%2fmanage.py", "%2e%2e%2fmanage.py", "%00"]
)
def test_nothing_else_is_served(name: str) -> None:
    assert Client().get(f"/docs/{name}").status_code == 404
