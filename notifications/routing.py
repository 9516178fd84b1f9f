"""Routes for Channels' `URLRouter`: the same streams over WebSocket, at `ws/events/`."""

from typing import Any, cast

from django.urls import path

from notifications.websocket.application import events

websocket_urlpatterns = [path("ws/events/", cast("Any", events), name="carillon-websocket")]
