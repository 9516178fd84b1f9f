"""Rows of tokens of other packages: the streams of a token that ends are rechecked at once.

Imported when Django's applications are loaded, if one of these packages is installed: the process
that ends a token need not be one that serves streams.
"""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models.signals import post_delete, post_save

from notifications.hub.grants import user_subject
from notifications.publishing.control import recheck_streams_on_commit

MODELS = {
    "rest_framework.authtoken": ("authtoken.Token", "authtoken.TokenProxy"),
    "knox": (getattr(settings, "KNOX_TOKEN_MODEL", "knox.AuthToken"),),
}
BLACKLIST = "rest_framework_simplejwt.token_blacklist"
BLACKLISTED: str = "token_blacklist.BlacklistedToken"
UID = "carillon.token_rows"


def connect() -> None:
    for package, names in MODELS.items():
        for name in names if apps.is_installed(package) else ():
            post_delete.connect(_on_deleted, sender=apps.get_model(name), dispatch_uid=UID)
    if apps.is_installed(BLACKLIST):
        post_save.connect(_on_blacklisted, sender=apps.get_model(BLACKLISTED), dispatch_uid=UID)


def _on_blacklisted(*, instance: Any, using: str, raw: bool, **_: Any) -> None:
    if not raw:  # a fixture may have the row before the one that it refers to
        _on_deleted(instance=instance.token, using=using)


def _on_deleted(*, instance: Any, using: str, **_: Any) -> None:
    if instance.user_id is not None:
        recheck_streams_on_commit(user_subject(instance.user_id), using=using)


connect()
