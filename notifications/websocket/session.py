"""The conversation on a WebSocket: its commands, one after another, and its subscriptions."""

import asyncio
import logging
from collections import deque
from contextvars import Context

from django.core.exceptions import SuspiciousOperation
from django.db import Error as DatabaseError

from notifications.access.authorization import grant_for
from notifications.asgi.start_params import since
from notifications.asgi.threads import in_request_thread
from notifications.errors import (
    BadRequest,
    CarillonError,
    TooLarge,
    TooMany,
    Unavailable,
)
from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.telemetry.counters import process_counters
from notifications.topics import topics as check_topics
from notifications.transport.base import Message
from notifications.websocket.handshake import Handshake
from notifications.websocket.multiplex import Socket, WebSocketTransport
from notifications.websocket.protocol import MESSAGES, Subscribe, Unreadable, command, error, piece

logger = logging.getLogger("carillon")

MAX_SUBSCRIPTIONS = 32
MAX_WAITING = 64
"""Commands: a server reads them whether or not they are carried out."""
IDLE = 60.0
"""Seconds for which a connection may be without a subscription."""
READY_TIMEOUT = 2.0

# RFC 6455's registry, and from 4000 on our own.
CLOSE_CODES = {CloseReason.DRAINING: 1012, CloseReason.STOPPING: 1001}
TOO_MANY = 4429, "too_many_commands"
NO_SUBSCRIPTION = 4410, "no_subscription"
FAILED = 1011, "error"


class Conversation:
    def __init__(self, socket: Socket, handshake: Handshake) -> None:
        self._socket = socket
        self._handshake = handshake
        self._subscriptions: dict[str, Subscriber] = {}
        self._commands: deque[str | None] = deque()
        self._working: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._idle: asyncio.TimerHandle | None = None
        socket.listener = self
        self._watch_idleness()

    def hear(self, message: Message) -> None:
        """Never waits, since a server may keep all that is not read."""
        if self._socket.over:
            return
        if len(self._commands) == MAX_WAITING:
            self._commands.clear()
            self._socket.close(*TOO_MANY)
            return
        self._commands.append(message.get("text"))
        if self._working is None:
            self._working = self._loop.create_task(self._work(), context=Context())

    async def _work(self) -> None:
        try:
            async with in_request_thread():
                while self._commands and not self._socket.over:
                    await self._obey(self._commands.popleft())
        except Exception:
            logger.exception("websocket.failed")
            self._socket.close(*FAILED)
        finally:
            self._working = None

    async def _obey(self, text: str | None) -> None:
        id = None
        try:
            given = command(text)
            id = given.id
            if isinstance(given, Subscribe):
                await self._subscribe(given)
            else:
                await self._unsubscribe(given.id)
        except Unreadable as fault:
            await self._say(fault.id, error(fault))
        except CarillonError as fault:
            await self._say(id, error(fault))
        except SuspiciousOperation as fault:
            await self._say(id, error(BadRequest(f"The handshake cannot be read: {fault}")))

    async def _say(self, id: str | None, pieces: bytes) -> None:
        await self._socket.free()
        if not self._socket.over:
            self._socket.say(id, pieces)

    # Subscriptions

    async def _subscribe(self, given: Subscribe) -> None:
        earlier = self._subscriptions.get(given.id)
        if earlier is None and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise TooLarge(
                f"A connection has at most {MAX_SUBSCRIPTIONS} subscriptions. Subscribe to several "
                "topics in one, or to a topic that stands for several."
            )
        start = _start_of(given)
        here = runtime.start()
        if not await here.wait_ready(timeout=READY_TIMEOUT):
            await self._refuse(given.id, here.refusal)
            return
        grant = await self._grant(given)
        await self._socket.free()
        if self._socket.over:
            return
        # From here on in one step of the loop: the one ends where the other begins.
        if self._subscriptions.get(given.id) is not earlier:
            raise BadRequest("The subscription ended meanwhile: subscribe again, from your cursor.")
        names = here.quotas.names(self._handshake.address, grant)
        if (reason := here.quotas.refusal(names, instead_of=earlier)) is not None:
            if earlier is not None:
                raise TooMany(f"You have as many streams as you may ({reason}).")
            await self._refuse(given.id, reason)
            return
        if earlier is not None:
            start = start or here.hub.follow_on(earlier)
            self._leave(earlier)
        prelude = piece("subscribed", topics=list(grant.topics))
        transport = self._socket.transport(given.id, prelude)
        # Known before it joins, since its grant may be over at once.
        joined = here.subscribe(grant, transport, start or Start(), encoder=MESSAGES, names=names)
        if joined.open:
            self._subscriptions[given.id] = joined
        self._watch_idleness()

    async def _refuse(self, id: str, reason: CloseReason) -> None:
        process_counters.refused[reason] += 1
        await self._socket.free()
        if reason in CLOSE_CODES:
            self._part(reason)
        elif not self._socket.over:
            self._socket.say(id, MESSAGES.closing(reason))

    async def _grant(self, given: Subscribe) -> Grant:
        topics = check_topics(given.topics) if given.topics else ()
        try:
            return await grant_for(self._handshake.request(), topics)
        except DatabaseError as fault:
            logger.exception("subscribe.user_unknown")
            raise Unavailable(
                "Who you are cannot be told now: try again in a second.", outcome="not_sent"
            ) from fault

    async def _unsubscribe(self, id: str) -> None:
        if (subscriber := self._subscriptions.pop(id, None)) is None:
            raise BadRequest("There is no subscription of this id.")
        self._leave(subscriber)
        self._watch_idleness()
        await self._say(id, piece("unsubscribed"))

    def _leave(self, subscriber: Subscriber, reason: CloseReason = CloseReason.CLIENT_LEFT) -> None:
        runtime.start().hub.leave(subscriber, reason)
        assert isinstance(subscriber.transport, WebSocketTransport)
        self._socket.discard(subscriber.transport)

    def _watch_idleness(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._subscriptions and not self._socket.over:
            self._idle = self._loop.call_later(
                IDLE, self._socket.close, *NO_SUBSCRIPTION, context=Context()
            )

    # Ends

    def ended(self, transport: WebSocketTransport, reason: str) -> None:
        """One subscription is to end, by the hub; where the process does, the connection is."""
        self._subscriptions.pop(transport.id, None)
        if reason in CLOSE_CODES:
            self._part(CloseReason(reason))
        else:
            self._socket.say(transport.id, transport.prelude + MESSAGES.closing(reason))
            self._watch_idleness()
        if not transport.busy:
            self._socket.discard(transport)

    def _part(self, reason: CloseReason) -> None:
        """All at once, since the client has to connect anew for any of them."""
        if not self._socket.over:
            self._socket.say(None, MESSAGES.closing(reason))
            self._socket.close(CLOSE_CODES[reason], reason)
        self.leave(reason)

    def leave(self, reason: CloseReason = CloseReason.CLIENT_LEFT) -> None:
        """The connection is over."""
        self._socket.over = True
        if self._idle is not None:
            self._idle.cancel()
        if self._working is not None and self._working is not asyncio.current_task():
            self._working.cancel()
        while self._subscriptions:
            _, subscriber = self._subscriptions.popitem()
            self._leave(subscriber, reason)


def _start_of(given: Subscribe) -> Start | None:
    """None without any: at the head, or where the subscription of that id is."""
    if given.cursor:
        return Start(cursor=given.cursor)
    return since(given.since) if given.since else None
