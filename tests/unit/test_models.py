"""The models: the permission to publish, the list field, and the migrations."""

import pytest
from django.contrib.auth.models import Permission, User
from django.core import serializers
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection

from notifications.access.decision import PUBLISH_PERMISSION
from notifications.access.identities.api_keys import issue
from notifications.models import ApiKey, Event, TextListField

pytestmark = pytest.mark.django_db


def test_there_are_permissions_to_publish_and_operate_and_djangos_four_for_keys() -> None:
    permissions = Permission.objects.filter(content_type__app_label="carillon")
    key_permissions = {f"{action}_apikey" for action in ("add", "change", "delete", "view")}
    assert {permission.codename for permission in permissions} == {
        "publish_event",
        *("view_livestream", "change_livestream"),
        *key_permissions,
    }


def test_a_user_can_get_the_permission() -> None:
    user = User.objects.create_user("ada")
    assert not user.has_perm(PUBLISH_PERMISSION)
    user.user_permissions.add(Permission.objects.get(codename="publish_event"))
    assert User.objects.get(pk=user.pk).has_perm(PUBLISH_PERMISSION)


def test_events_have_no_table() -> None:
    assert Event._meta.db_table not in connection.introspection.table_names()
    assert str(Event()) == "event"


def test_a_list_of_texts_is_loaded_as_it_was_saved() -> None:
    for patterns in [], ["news"], ["a", "ü.*", '"', "\\n"]:
        key = ApiKey(name="a", publish=patterns)
        issue(key)
        key.save()
        assert ApiKey.objects.get(pk=key.pk).publish == patterns
        fixture = serializers.serialize("json", [key])
        [loaded] = serializers.deserialize("json", fixture)
        assert loaded.object.publish == patterns  # type: ignore[attr-defined]


def test_a_list_that_is_no_json_cannot_be_loaded() -> None:
    with pytest.raises(ValidationError):
        TextListField().to_python("news")


def test_the_migrations_match_the_models() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
