"""Views of both frameworks that return streams."""

import time
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja import NinjaAPI
from ninja.security import APIKeyHeader, HttpBearer
from ninja.throttling import AnonRateThrottle as NinjaThrottle
from rest_framework.authentication import SessionAuthentication, TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.decorators import (
    action,
    api_view,
    authentication_classes,
    permission_classes,
    renderer_classes,
)
from rest_framework.permissions import AllowAny, IsAdminUser, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from notifications.access import agrant_for, grant_for
from notifications.asgi.responses import EventStreamResponse
from notifications.compat.ninja import answer_with_problems
from notifications.compat.rest_framework import EventStreamMixin, EventStreamRenderer


class Orders(EventStreamMixin, APIView):  # type: ignore[misc]
    authentication_classes: tuple[Any, ...] = (TokenAuthentication, SessionAuthentication)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Any, pk: int) -> HttpResponseBase:
        return self.stream(f"orders.{pk}")


class Staff(Orders):
    permission_classes = (IsAdminUser,)


class ByRules(Orders):
    def get(self, request: Any, pk: int) -> HttpResponseBase:
        return self.stream(f"user.{pk}", rules=True)


class Open(Orders):
    permission_classes = (AllowAny,)


class Short(Orders):
    def get(self, request: Any, pk: int) -> HttpResponseBase:
        return self.stream(f"orders.{pk}", until=time.time() + 1)


class OneRequest(SimpleRateThrottle):  # type: ignore[misc]
    rate = "1/hour"

    def get_cache_key(self, request: Any, view: Any) -> str:
        return f"throttle-{request.user.pk}"


class Throttled(Orders):
    throttle_classes = (OneRequest,)


class Rooms(EventStreamMixin, ViewSet):  # type: ignore[misc]
    authentication_classes = (TokenAuthentication,)

    def get_permissions(self) -> list[Any]:
        return [IsAdminUser() if self.action == "events" else IsAuthenticated()]

    @action(detail=True, url_path="events")  # type: ignore[untyped-decorator]
    def events(self, request: Any, pk: str) -> HttpResponseBase:
        return self.stream(f"orders.{pk}")


class Members(Orders):
    def get(self, request: Any, pk: int) -> HttpResponseBase:
        return self.stream(f"orders.{pk}", recheck=lambda user: user.last_name != "left")


@api_view(["GET"])  # type: ignore[untyped-decorator]
@renderer_classes([JSONRenderer, EventStreamRenderer])  # type: ignore[untyped-decorator]
@authentication_classes([TokenAuthentication])  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated])  # type: ignore[untyped-decorator]
def function_view(request: Any) -> HttpResponseBase:
    token = request.auth
    return EventStreamResponse(grant_for(request.user, ["orders.1"], recheck=HasToken(token.key)))


class Plain(APIView):  # type: ignore[misc]
    """As it is without our mixin."""

    def get(self, request: Any) -> HttpResponseBase:
        return EventStreamResponse(["orders.1"])


class Data(APIView):  # type: ignore[misc]
    def get(self, request: Any) -> Response:
        return Response({"user": str(request.user)})


class HasToken:
    """Whether a token still exists."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, user: Any) -> bool:
        return bool(Token.objects.filter(key=self.key, user_id=user.pk).exists())


class Bearer(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> Token | None:
        return Token.objects.filter(key=token, user__is_active=True).select_related("user").first()


class ServiceKey(APIKeyHeader):
    param_name = "X-Service-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        return key if key == "service" else None


class AsyncBearer(HttpBearer):
    async def authenticate(self, request: HttpRequest, token: str) -> Token | None:
        tokens = Token.objects.filter(key=token, user__is_active=True)
        return await tokens.select_related("user").afirst()


api = NinjaAPI(urls_namespace="framework-site")
answer_with_problems(api)


@api.get("sync/{pk}", auth=Bearer())
def sync_stream(request: Any, pk: int) -> Any:
    token = request.auth
    return EventStreamResponse(grant_for(token.user, [f"orders.{pk}"], recheck=HasToken(token.key)))


@api.get("async/{pk}", auth=AsyncBearer())
async def async_stream(request: Any, pk: int) -> Any:
    token = request.auth
    return EventStreamResponse(
        await agrant_for(token.user, [f"orders.{pk}"], recheck=HasToken(token.key))
    )


@api.get("service/{topic}", auth=ServiceKey())
def service_stream(request: Any, topic: str) -> Any:
    return EventStreamResponse(grant_for(None, [topic], until=time.time() + 60))


@api.get("throttled", throttle=[NinjaThrottle("1/h")])
def throttled(request: Any) -> Any:
    return EventStreamResponse(["orders.1"])
