"""Views that authenticate with the tokens of other packages."""

from knox.auth import TokenAuthentication as KnoxAuthentication
from rest_framework_simplejwt.authentication import (
    JWTAuthentication,
    JWTStatelessUserAuthentication,
)

from tests.harness.framework_site.views import Orders


class ByKnox(Orders):
    authentication_classes = (KnoxAuthentication,)


class ByJWT(Orders):
    authentication_classes = (JWTAuthentication,)


class Stateless(Orders):
    authentication_classes = (JWTStatelessUserAuthentication,)
