"""The session of one WebSocket: its commands, executed in order, and its subscriptions."""

import asyncio
from collections import deque
from contextvars import Context

from django.core.exceptions import SuspiciousOperation
from django.db import Error as DatabaseError

from notifications.asgi.request_thread import RequestThread
from notifications.asgi.start_params import parse_since
from notifications.errors import (
    BadRequest,
    CarillonError,
    TooLarge,
    TooMany,
    Unavailable,
)
from notifications.hub import runtime
from notifications.hub.grants import Grant
from notifications.hub.stream import READY_TIMEOUT_SECONDS
from notifications.hub.subscribers import CloseReason, Start, Subscriber
from notifications.telemetry.counters import process_counters
from notifications.telemetry.logs import logger
from notifications.topics import parse_topics
from notifications.transport.base import Message
from notifications.websocket.handshake import Handshake
from notifications.websocket.multiplex import Multiplexer, WebSocketTransport
from notifications.websocket.protocol import (
    MESSAGE_ENCODER,
    InvalidCommand,
    Subscribe,
    encode_error,
    encode_message,
    parse_command,
)

MAX_SUBSCRIPTIONS = 32
MAX_PENDING_COMMANDS = 64
"""The limit is needed because a server reads commands whether or not they are executed."""
IDLE_SECONDS = 60.0
"""How long a connection may have no subscription."""

# Close codes: from RFC 6455's registry, and from 4000 on our own.
CLOSE_CODES = {CloseReason.DRAINING: 1012, CloseReason.STOPPING: 1001}
TOO_MANY_COMMANDS = 4429, "too_many_commands"
NO_SUBSCRIPTION = 4410, "no_subscription"
INTERNAL_ERROR = 1011, "error"


class WebSocketSession:
    def __init__(
        self,
        multiplexer: Multiplexer,
        handshake: Handshake,
        *,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._multiplexer = multiplexer
        self._handshake = handshake
        self._idle_seconds = idle_seconds
        self._subscriptions: dict[str, Subscriber] = {}
        self._commands: deque[str | None] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._idle_timer: asyncio.TimerHandle | None = None
        multiplexer.session = self
        self._restart_idle_timer()

    def receive(self, message: Message) -> None:
        """Queue a command. Never waits, because a server may buffer everything that is not read."""
        if self._multiplexer.closed:
            return
        if len(self._commands) == MAX_PENDING_COMMANDS:
            self._commands.clear()
            self._multiplexer.close(*TOO_MANY_COMMANDS)
            return
        self._commands.append(message.get("text"))
        if self._worker is None:
            self._worker = self._loop.create_task(self._execute_commands(), context=Context())

    async def _execute_commands(self) -> None:
        try:
            with RequestThread():
                while self._commands and not self._multiplexer.closed:
                    await self._execute(self._commands.popleft())
        except Exception:
            logger.exception("websocket.failed")
            self._multiplexer.close(*INTERNAL_ERROR)
        finally:
            self._worker = None

    async def _execute(self, text: str | None) -> None:
        id = None
        try:
            command = parse_command(text)
            id = command.id
            if isinstance(command, Subscribe):
                await self._subscribe(command)
            else:
                await self._unsubscribe(command.id)
        except InvalidCommand as error:
            await self._send(error.id, encode_error(error))
        except CarillonError as error:
            await self._send(id, encode_error(error))
        except SuspiciousOperation as error:
            problem = BadRequest(f"The handshake cannot be read: {error}")
            await self._send(id, encode_error(problem))

    async def _send(self, id: str | None, messages: bytes) -> None:
        await self._multiplexer.wait_until_free()
        if not self._multiplexer.closed:
            self._multiplexer.send(id, messages)

    # Subscriptions

    async def _subscribe(self, command: Subscribe) -> None:
        replaced = self._subscriptions.get(command.id)
        if replaced is None and len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise TooLarge(
                f"A connection has at most {MAX_SUBSCRIPTIONS} subscriptions. Subscribe to several "
                "topics in one, or to a topic that stands for several."
            )
        start = _start_of(command)
        running = runtime.start()
        if not await running.wait_ready(timeout=READY_TIMEOUT_SECONDS):
            await self._refuse(command.id, running.refusal)
            return
        grant = await self._grant(command)
        await self._multiplexer.wait_until_free()
        if self._multiplexer.closed:
            return
        if refusal := self._open(command, grant, start, replaced):
            await self._refuse(command.id, refusal)

    def _open(
        self, command: Subscribe, grant: Grant, start: Start | None, replaced: Subscriber | None
    ) -> CloseReason | None:
        """Join the hub, or return why not.

        In one step of the event loop, so that the replaced subscription ends where this one begins.
        """
        if self._subscriptions.get(command.id) is not replaced:
            raise BadRequest("The subscription ended meanwhile: subscribe again, from your cursor.")
        running = runtime.start()
        names = running.quotas.admit(self._handshake.address, grant, replacing=replaced)
        if isinstance(names, CloseReason):
            if replaced is not None:
                raise TooMany(f"You have as many streams as you may ({names}).")
            return names
        if replaced is not None:
            start = start or running.hub.continuation_of(replaced)
            self._remove(replaced)
        prelude = encode_message("subscribed", topics=list(grant.topics))
        transport = self._multiplexer.transport(command.id, prelude)
        subscriber = running.subscribe(
            grant, transport, start or Start(), encoder=MESSAGE_ENCODER, quota_names=names
        )
        # The grant may have expired already: then the hub has ended the subscription by now.
        if subscriber.open:
            self._subscriptions[command.id] = subscriber
        self._restart_idle_timer()
        return None

    async def _refuse(self, id: str, reason: CloseReason) -> None:
        process_counters.refused[reason] += 1
        await self._multiplexer.wait_until_free()
        if reason in CLOSE_CODES:
            self._close(reason)
        elif not self._multiplexer.closed:
            self._multiplexer.send(id, MESSAGE_ENCODER.closing(reason))

    async def _grant(self, command: Subscribe) -> Grant:
        topics = parse_topics(command.topics) if command.topics else ()
        try:
            return await self._handshake.authorize(topics)
        except DatabaseError as error:
            logger.exception("subscribe.user_unknown")
            raise Unavailable(
                "The sessions cannot be read now: try again in a second.", outcome="not_sent"
            ) from error

    async def _unsubscribe(self, id: str) -> None:
        if (subscriber := self._subscriptions.pop(id, None)) is None:
            raise BadRequest("There is no subscription with this id.")
        self._remove(subscriber)
        self._restart_idle_timer()
        await self._send(id, encode_message("unsubscribed"))

    def _remove(
        self, subscriber: Subscriber, reason: CloseReason = CloseReason.CLIENT_LEFT
    ) -> None:
        runtime.start().hub.leave(subscriber, reason)
        assert isinstance(subscriber.transport, WebSocketTransport)
        self._multiplexer.discard(subscriber.transport)

    def _restart_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        if not self._subscriptions and not self._multiplexer.closed:
            self._idle_timer = self._loop.call_later(
                self._idle_seconds, self._multiplexer.close, *NO_SUBSCRIPTION, context=Context()
            )

    # The end

    def subscription_ended(self, transport: WebSocketTransport, reason: str) -> None:
        """Send the reason for which the hub ends a subscription.

        If the hub ends it because the process stops, the whole connection closes.
        """
        self._subscriptions.pop(transport.id, None)
        if reason in CLOSE_CODES:
            self._close(CloseReason(reason))
        else:
            closing = transport.prelude + MESSAGE_ENCODER.closing(reason)
            self._multiplexer.send(transport.id, closing)
            self._restart_idle_timer()
        if not transport.busy:
            self._multiplexer.discard(transport)

    def _close(self, reason: CloseReason) -> None:
        """End all subscriptions together: for each of them the client has to reconnect."""
        if not self._multiplexer.closed:
            self._multiplexer.send(None, MESSAGE_ENCODER.closing(reason))
            self._multiplexer.close(CLOSE_CODES[reason], reason)
        self.disconnected(reason)

    def disconnected(self, reason: CloseReason = CloseReason.CLIENT_LEFT) -> None:
        """End everything: the connection is gone, or closing."""
        self._multiplexer.disconnected()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._worker is not None and self._worker is not asyncio.current_task():
            self._worker.cancel()
        while self._subscriptions:
            _, subscriber = self._subscriptions.popitem()
            self._remove(subscriber, reason)


def _start_of(command: Subscribe) -> Start | None:
    """None without a cursor or `since`: the head, or the position of the replaced subscription."""
    if command.cursor:
        return Start(cursor=command.cursor)
    return parse_since(command.since) if command.since else None
