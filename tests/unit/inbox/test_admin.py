"""Superusers can look at notifications in the admin, and nobody can change them there."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from notifications import notify
from notifications.inbox.models import Notification
from tests.unit.inbox.inboxes import Inboxes

LIST = "/admin/carillon_inbox/notification/"
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def shown(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200
    return response.content.decode()


def test_superusers_search_by_recipient_and_filter_by_kind_and_state(inboxes: Inboxes) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    notify(inboxes.ada, "message", {"text": "<for ada>"}, actor=inboxes.bob)
    notify(inboxes.bob, "message", {"text": "for bob"})
    ada, bob = (Notification.objects.get(recipient=user) for user in (inboxes.ada, inboxes.bob))
    both = shown(client, LIST)
    assert str(ada.pk) in both
    assert str(bob.pk) in both
    for query, expected in (("?q=ada", True), ("?q=eve", False), ("?kind=message", True)):
        assert (str(ada.pk) in shown(client, LIST + query)) is expected
    assert str(ada.pk) not in shown(client, f"{LIST}?state__exact=2")
    assert str(ada.pk) not in shown(client, f"{LIST}?kind=community")
    detail = shown(client, f"{LIST}{ada.pk}/change/")
    assert "&lt;for ada&gt;" in detail
    assert 'name="_save"' not in detail
    assert "delete" not in detail
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.post(f"{LIST}{ada.pk}/delete/", {"post": "yes"}).status_code == 403


def test_staff_do_not_read_the_notifications_of_others(inboxes: Inboxes) -> None:
    client = Client()
    client.force_login(User.objects.create_user("staff", is_staff=True))
    assert client.get(LIST).status_code == 403
