"""The user of a page: a digest in the URL of its stream, so that tabs share one connection safely.

Tabs of one browser share a stream if their URLs have the same digest. A page outlives its user's
session: after somebody else has logged in, its stream must not open as theirs.
"""

import re

from django.conf import settings as django_settings
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare, salted_hmac

from notifications.access.identities.base import Identity, Kind, User
from notifications.conf import namespace as namespaces
from notifications.hub.grants import user_subject

PARAMETER = "user"
DIGEST_CHARACTERS = 32
_DIGEST = re.compile(rf"[0-9a-f]{{{DIGEST_CHARACTERS}}}", re.ASCII)
_SALT = "carillon.page_user"
_NOBODY = "nobody"


def page_user(user: User | None) -> str:
    """The digest of a user, or of the visitor who is nobody: it names them to this site alone."""
    is_somebody = user is not None and user.is_authenticated
    name = user_subject(user.pk) if is_somebody and user is not None else _NOBODY
    return _digest(django_settings.SECRET_KEY, name, namespaces.current())


def requested_page_user(request: HttpRequest) -> str:
    """The digest that a request repeats in its stream; "" for none."""
    if PARAMETER not in request.GET:
        return ""
    text = request.GET.get(PARAMETER, "")
    return text if _DIGEST.fullmatch(text) else ""


def is_for_page_user(request: HttpRequest, identity: Identity) -> bool:
    """Whether the session is still that of the user for whom the page was made, if it says so."""
    text = request.GET.get(PARAMETER, "")
    if not text or identity.kind not in (Kind.SESSION, Kind.ANONYMOUS):
        return True
    name = identity.name if identity.kind is Kind.SESSION else _NOBODY
    secrets = [django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS]
    return any(
        constant_time_compare(text, _digest(secret, name, identity.namespace)) for secret in secrets
    )


def _digest(secret: str | bytes, name: str, namespace: str) -> str:
    mac = salted_hmac(_SALT, f"{namespace}:{name}", secret=secret, algorithm="sha256")
    return mac.hexdigest()[:DIGEST_CHARACTERS]
