"""The page `/inbox/page/` and the tag `{% carillon_bell %}`: what they show, and to whom."""

import json
import re
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.template import Context, Template, TemplateSyntaxError
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import translation
from pytest_django import DjangoAssertNumQueries, Settings

from notifications.inbox.models import Notification
from notifications.inbox.states import State

pytestmark = pytest.mark.django_db

BROWSER = {"Accept": "text/html"}
PAGE = "/inbox/page/"


def add(user: User, *texts: str, state: State = State.UNSEEN, url: str = "") -> None:
    """Notifications that the relay has numbered."""
    first = Notification.objects.count() + 1
    for number, text in enumerate(texts, start=first):
        Notification.objects.create(
            recipient=user,
            number=number,
            pending=False,
            kind="message",
            params={"text": text},
            state=state,
            url=url,
        )


@pytest.fixture
def ada(client: Client) -> User:
    user = User.objects.create_user("ada")
    client.force_login(user)
    return user


# The page


def test_a_browser_without_a_login_is_sent_to_it_and_others_are_refused(client: Client) -> None:
    page = client.get(f"{PAGE}?state=unread", headers=BROWSER)
    assert (page.status_code, page["Location"]) == (
        302,
        "/login/?next=/inbox/page/%3Fstate%3Dunread",
    )
    refused = client.get(PAGE, headers={"Accept": "application/json"})
    assert (refused.status_code, refused["Content-Type"]) == (401, "application/problem+json")


def test_it_shows_a_persons_own_notifications_newest_first(client: Client, ada: User) -> None:
    add(ada, "first", "<second>")
    add(User.objects.create_user("eve"), "of eve")
    html = client.get(PAGE).content.decode()
    assert html.index("&lt;second&gt;") < html.index("first")
    assert "of eve" not in html
    assert "<second>" not in html


def test_it_has_the_security_headers_and_is_not_stored(client: Client, ada: User) -> None:
    response = client.get(PAGE)
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert "no-store" in response["Cache-Control"]


def test_pages_follow_by_number_and_only_the_first_marks_all(client: Client, ada: User) -> None:
    add(ada, *(f"note {number}" for number in range(25)))
    first = client.get(PAGE).content.decode()
    assert first.count("<li class") == 20
    assert 'name="up_to" value="25"' in first
    [older] = re.findall(r'href="([^"]*)" rel="next"', first)
    second = client.get(PAGE + unescape(older)).content.decode()
    assert second.count("<li class") == 5
    assert 'name="up_to"' not in second
    assert ">Newest</a>" in second
    assert "rel=" not in second.partition("<main")[2]


def test_it_is_filtered_by_state(client: Client, ada: User) -> None:
    add(ada, "new")
    add(ada, "old", state=State.READ)
    add(ada, "gone", state=State.ARCHIVED)
    shown = {
        state: re.findall(r"new|old|gone", client.get(f"{PAGE}?state={state}").content.decode())
        for state in ("", "unread", "archived")
    }
    assert {state: set(words) for state, words in shown.items()} == {
        "": {"new", "old"},
        "unread": {"new"},
        "archived": {"gone"},
    }


@pytest.mark.parametrize(
    "query", ["state=everything", "before=x", "before=-1", "before=9" + "9" * 20]
)
def test_a_wrong_query_is_refused(client: Client, ada: User, query: str) -> None:
    assert client.get(f"{PAGE}?{query}", headers=BROWSER).status_code == 400


def test_it_works_below_a_prefix_in_a_site_that_has_nothing_else_of_ours(
    client: Client, ada: User, settings: Settings
) -> None:
    settings.ROOT_URLCONF = "tests.harness.urls_below"
    add(ada, "a note")
    html = client.get(f"/live{PAGE}").content.decode()
    assert "a note" in html
    assert 'action="/live/inbox/read"' in html
    refused = client.get(f"/live{PAGE}?before=x", headers=BROWSER)
    assert refused.status_code == 400
    assert "Go to the events" not in refused.content.decode()
    given = attributes(rendered(ada))
    assert (given["inbox"], given["events"].partition("?")[0]) == ("/live/inbox/", "/live/events/")


def test_a_wrong_method_is_refused(client: Client, ada: User) -> None:
    assert client.post(PAGE).status_code == 405


@pytest.mark.parametrize("url", ["javascript:alert(1)", " JavaScript:alert(1)", "data:text/html,x"])
def test_only_addresses_of_pages_are_linked(client: Client, ada: User, url: str) -> None:
    add(ada, "a note", url=url)
    html = client.get(PAGE).content.decode()
    assert "a note" in html
    assert "alert" not in html
    assert "data:text" not in html


def test_the_forms_are_answered_by_the_page(client: Client, ada: User) -> None:
    add(ada, "one", "two")
    answer = client.post(reverse("carillon:inbox-read"), {"up_to": "2"})
    assert (answer.status_code, answer["Location"]) == (303, PAGE)
    assert "Mark as read" not in client.get(PAGE).content.decode()


def test_it_is_german_where_that_is_the_language(
    client: Client, ada: User, settings: Settings
) -> None:
    settings.LANGUAGE_CODE = "de"
    add(ada, "eins")
    with translation.override("de"):
        html = client.get(PAGE).content.decode()
    assert '<html lang="de">' in html
    assert "Alle als gelesen markieren" in html


# The tag


def rendered(user: User | AnonymousUser, arguments: str = "", **context: Any) -> str:
    request = RequestFactory().get("/")
    request.user = user
    tag = Template(f"{{% load carillon %}}{{% carillon_bell {arguments} %}}")
    return str(tag.render(Context({"request": request, **context})))


def attributes(html: str) -> dict[str, str]:
    [tag] = re.findall(r"<carillon-bell([^>]*)>", html)
    return {name: unescape(value) for name, value in re.findall(r' ([\w-]+)="([^"]*)"', tag)}


def state(html: str) -> dict[str, Any]:
    [text] = re.findall(r'<script type="application/json">(.*?)</script>', html)
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_bell_has_the_first_page_the_counts_and_where_the_stream_begins(ada: User) -> None:
    add(ada, *(f"note {number}" for number in range(3)))
    html = rendered(ada, "limit=2")
    found = state(html)
    assert [each["text"] for each in found["notifications"]] == ["note 2", "note 1"]
    assert (found["counts"]["unseen"], found["next"]) == (3, "/inbox/?before=2&limit=2")
    assert "cursor" in found
    given = attributes(html)
    assert re.fullmatch(rf"/events/\?user=[0-9a-f]{{32}}&topic=user\.{ada.pk}", given["events"])
    assert (given["inbox"], given["lang"]) == ("/inbox/", "en-us")
    assert '<a href="/inbox/page/" aria-label="Notifications, 3 new">' in html
    assert 'src="/static/carillon/bell.js"' in html


def test_content_cannot_end_the_script_that_holds_it(ada: User) -> None:
    add(ada, "</script><script>alert(1)")
    html = rendered(ada)
    assert "</script><script>alert" not in html
    assert state(html)["notifications"][0]["text"] == "</script><script>alert(1)"


def test_nobody_gets_nothing_and_no_query_is_made(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    with django_assert_num_queries(0):
        assert rendered(AnonymousUser()) == ""


def test_a_bell_is_two_queries(
    ada: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    add(ada, "one", "two")
    with django_assert_num_queries(2):
        rendered(ada)


def test_the_cookie_proves_where_a_request_comes_from_or_else_a_token(
    ada: User, settings: Settings
) -> None:
    given = attributes(rendered(ada))
    assert (given["csrf-cookie"], given["csrf-header"]) == ("csrftoken", "X-CSRFTOKEN")
    assert "csrf-token" not in given
    for setting in ("CSRF_COOKIE_HTTPONLY", "CSRF_USE_SESSIONS"):
        setattr(settings, setting, True)
        given = attributes(rendered(ada))
        assert "csrf-cookie" not in given
        assert len(given["csrf-token"]) == 64
        setattr(settings, setting, False)


def test_a_page_with_a_bell_sets_the_cookie(ada: User) -> None:
    request = RequestFactory().get("/")
    request.user = ada
    Template("{% load carillon %}{% carillon_bell %}").render(Context({"request": request}))
    assert request.META["CSRF_COOKIE_NEEDS_UPDATE"]


def test_its_options_are_attributes(ada: User) -> None:
    html = rendered(ada, "title=False toasts=False texts=own script=False", own={"title": "Post's"})
    given = attributes(html)
    assert (given["no-title"], given["no-toasts"]) == ("", "")
    assert json.loads(given["texts"]) == {"title": "Post's"}
    assert "bell.js" not in html
    assert {"no-title", "no-toasts", "texts"}.isdisjoint(attributes(rendered(ada)))


def test_many_are_a_number_and_a_plus(ada: User) -> None:
    add(ada, *(["note"] * 100))
    assert ">99+</text>" in rendered(ada)


def test_it_is_german_too(ada: User) -> None:
    add(ada, "eins")
    with translation.override("de"):
        html = rendered(ada)
    assert 'aria-label="Benachrichtigungen, 1 neue"' in html
    assert attributes(html)["lang"] == "de"


def test_without_the_inbox_the_tag_names_the_remedy(ada: User, settings: Settings) -> None:
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if name != "notifications.inbox"
    ]
    with pytest.raises(TemplateSyntaxError, match="to INSTALLED_APPS"):
        rendered(ada)
