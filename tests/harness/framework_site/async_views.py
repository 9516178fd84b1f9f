"""Async views (adrf) that return streams."""

from typing import Any

from adrf.decorators import api_view
from adrf.views import APIView
from adrf.viewsets import ViewSet
from django.http.response import HttpResponseBase
from rest_framework.authentication import BaseAuthentication, TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.decorators import (
    authentication_classes,
    permission_classes,
    renderer_classes,
)
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import JSONRenderer

from notifications.access import agrant_for
from notifications.asgi.responses import EventStreamResponse
from notifications.compat.rest_framework import EventStreamMixin, EventStreamRenderer
from tests.harness.framework_site.views import HasToken


class Orders(EventStreamMixin, APIView):  # type: ignore[misc]
    authentication_classes = (TokenAuthentication,)
    permission_classes = (IsAuthenticated,)

    async def get(self, request: Any, pk: int) -> HttpResponseBase:
        return await self.astream(f"orders.{pk}")


class AsyncToken(BaseAuthentication):  # type: ignore[misc]
    async def authenticate(self, request: Any) -> tuple[Any, Any] | None:
        key = request.headers.get("Authorization", "").removeprefix("Token ")
        token = await Token.objects.select_related("user").filter(key=key).afirst()
        if token is None:
            raise AuthenticationFailed
        return token.user, token

    def authenticate_header(self, request: Any) -> str:
        return "Token"


class HasNotLeft(BasePermission):  # type: ignore[misc]
    async def has_permission(self, request: Any, view: Any) -> bool:
        return bool(request.user.last_name != "left")


class AsyncClasses(Orders):
    authentication_classes = (AsyncToken,)
    permission_classes = (HasNotLeft,)


class Rooms(EventStreamMixin, ViewSet):  # type: ignore[misc]
    authentication_classes = (TokenAuthentication,)
    permission_classes = (IsAuthenticated,)

    async def events(self, request: Any, pk: int) -> HttpResponseBase:
        return await self.astream(f"orders.{pk}")


@api_view(["GET"])  # type: ignore[untyped-decorator]
@renderer_classes([JSONRenderer, EventStreamRenderer])  # type: ignore[untyped-decorator]
@authentication_classes([TokenAuthentication])  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated])  # type: ignore[untyped-decorator]
async def function_view(request: Any) -> HttpResponseBase:
    key = request.auth.key
    return EventStreamResponse(await agrant_for(request.user, ["orders.1"], recheck=HasToken(key)))
