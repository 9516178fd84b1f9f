"""`CARILLON`, the one settings dict: its keys, their defaults and their limits.

The app reads its settings from this module alone, at each use, and never from the environment.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from notifications.conf.explanation import explain, wrong
from notifications.conf.jwt import Issuer
from notifications.conf.value_types import (
    BearerKey,
    CheckedRedisUrl,
    DatabaseName,
    ImportPath,
    Network,
    Origin,
    PushKey,
    PushService,
    SiteUrl,
    TopicPattern,
    TupleOf,
)

KIB = 1024
MIB = 1024 * KIB


class Settings(BaseModel):
    """Durations are seconds and sizes are bytes."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        json_schema_extra={
            "description": 'a dict of settings, such as {"REDIS_URL": "redis://localhost:6379/0"}'
        },
    )

    LOG: Literal["redis", "memory", "embedded"] = "redis"
    """Where the log is: a Redis or Valkey server, this process's memory, or the embedded Valkey."""

    REDIS_URL: CheckedRedisUrl | None = None
    """The address of Redis, for `LOG: redis`: `redis://`, `rediss://` or `unix://`,
    `redis+sentinel://host:26379,other:26379/service/0` or `redis+cluster://host:6379,other:6379`,
    and with TLS `rediss+sentinel://` and `rediss+cluster://`."""

    REDIS_IDLE_CHECK: Annotated[float, Field(ge=1, le=300)] = 2
    """Seconds between two checks, by each process, of a log in which nothing happens."""

    REDIS_CONNECTIONS: Annotated[int, Field(ge=2, le=10_000)] = 16
    """The largest number of connections to Redis that a process keeps for its event loop, the one
    that follows the log included, and again for its threads."""

    DATA_DIR: Annotated[Path, Field(description="the path of a folder")] | None = None
    """The folder of the embedded server's append-only file, for `LOG: embedded`."""

    KEY_PREFIX: Annotated[
        str,
        StringConstraints(pattern=r"^[\w.:-]{1,64}$"),
        Field(description="up to 64 letters, digits, and characters of _ . : -"),
    ] = "carillon"
    """The prefix of all our keys in Redis, so that several services can share a server."""

    PUBLISH_KEYS: TupleOf[BearerKey] = ()
    """Bearer keys that may publish to every topic; each has at least 16 characters of visible
    ASCII."""

    PUBLIC_TOPICS: TupleOf[TopicPattern] = ()
    """Patterns of topics to which anyone may subscribe, unless `ACCESS` decides that: `news` covers
    `news` and `news.…`; `demo.` covers `demo.…`."""

    ACCESS: ImportPath | None = None
    """The import path of the rules (`"myapp.access.rules"`) that decide who may subscribe and
    who may publish."""

    NAMESPACE: ImportPath | None = None
    """The import path of the object that knows the tenants of the site, and so keeps their topics,
    users and keys apart: `"notifications.compat.tenants.schema"` for django-tenants."""

    SHARED_TOPICS: TupleOf[TopicPattern] = ()
    """Patterns of topics that all tenants share. Only code, and requests of no tenant, publish to
    them."""

    JWT: Issuer | None = None
    """The issuer whose bearer tokens are accepted: `{"KEYS": {kid: {"ALGORITHM": …, "KEY": …}},
    "AUDIENCE": …, "ISSUER": …}`. The algorithm is HS256, RS256, ES256 or EdDSA."""

    QUERY_TOKENS: bool = False
    """Whether `?token=…` is accepted in place of `Authorization`. Access logs show a token in a
    URL."""

    LINK_AGE: Annotated[int, Field(ge=1)] = 12 * 60 * 60
    """Seconds for which a link made by `events_url` is valid, unless its caller gives a time."""

    CORS_ALLOWED_ORIGINS: TupleOf[Origin] = ()
    """Origins (`https://app.example.com`) whose pages may read streams with credentials."""

    HISTORY_EVENTS: Annotated[int, Field(ge=1)] = 100_000
    HISTORY_BYTES: Annotated[int, Field(ge=64 * KIB)] = 64 * MIB
    HISTORY_AGE: Annotated[int, Field(ge=1)] = 24 * 60 * 60
    """The log keeps at most this many events, bytes and seconds of history: the smallest limit
    applies."""

    KEEPALIVE: Annotated[float, Field(gt=0, le=300)] = 20
    """The mean number of seconds between two keep-alives of a stream; each pause varies by a
    quarter."""

    WRITE_DEADLINE: Annotated[float, Field(gt=0)] = 30
    """Seconds that a subscriber may take to accept one payload before its stream is closed."""

    DRAIN_SECONDS: Annotated[float, Field(ge=0, le=300)] = 5
    """Seconds over which a process of `carillon serve` closes its streams before it exits, so that
    their browsers do not all reconnect at once. 0 closes them at once."""

    GRANT_MAX_AGE: Annotated[float, Field(gt=0)] = 10 * 60
    """Seconds after which the permission of an open stream is checked again."""

    CONTINUE_AGE: Annotated[float, Field(ge=0, le=600)] = 60
    """Seconds within which the browser of a session that comes back after an interruption continues
    its stream without a query of the database. 0 switches that off."""

    MAX_STREAMS: Annotated[int, Field(ge=0)] = 15_000
    """The largest number of open streams in a process; a further stream is closed at once, with a
    time at which its browser reconnects. 0 means no limit, here and in the next four settings; with
    `DEBUG`, 0 is the default of all five."""

    MAX_STREAMS_PER_ADDRESS: Annotated[int, Field(ge=0)] = 0
    """The largest number of streams in a process from one address; an IPv6 network of 64 bits
    counts as one address. Behind a proxy all streams come from the proxy's address, unless
    `TRUSTED_PROXIES` names it."""

    MAX_STREAMS_PER_USER: Annotated[int, Field(ge=0)] = 100
    """The largest number of streams in a process of one user, by session, link or token. A key is
    no user."""

    MAX_STREAM_AGE: Annotated[float, Field(ge=0)] = 60 * 60
    """Seconds, give or take a quarter, after which a stream ends, so that its browser reconnects,
    perhaps to another process."""

    PUBLISH_RATE: Annotated[float, Field(ge=0)] = 0
    """Events a second that each publisher may publish through a process."""

    TRUSTED_PROXIES: TupleOf[Network] = ()
    """Addresses and networks of the proxies whose `X-Forwarded-For` is trusted."""

    REQUEST_TIMEOUT: Annotated[float, Field(gt=0, le=300)] = 75
    """Seconds after which `carillon serve` closes a connection that sends nothing and gets nothing.
    A proxy in front should close its idle connections sooner: nginx does, after 60."""

    MAX_REQUEST_BYTES: Annotated[int, Field(ge=64 * KIB)] = 64 * MIB
    """Bytes of the largest request body."""

    METRICS_KEYS: TupleOf[BearerKey] = ()
    """Bearer keys that may read `/metrics`. Without keys nobody may, except with `DEBUG`."""

    MAX_EVENT_BYTES: Annotated[int, Field(ge=1)] = 64 * KIB
    """Bytes of the largest `data` of one event, as it is sent."""

    MAX_BATCH_EVENTS: Annotated[int, Field(ge=1)] = 1_000
    MAX_BATCH_BYTES: Annotated[int, Field(ge=1)] = 8 * MIB
    """The largest numbers of events and of bytes in one publish request."""

    PUBLISH_TIMEOUT: Annotated[float, Field(gt=0)] = 2
    """Seconds that publishing waits for the log's acknowledgement."""

    WAIT_REPLICAS: Annotated[int, Field(ge=0)] = 0
    """The number of Redis replicas that must have an event before it is acknowledged."""

    IDEMPOTENCY_AGE: Annotated[int, Field(ge=1)] = 10 * 60
    """Seconds for which an idempotency key is remembered."""

    OUTBOX: Literal["off", "in-process"] = "off"
    """Which processes relay the outbox: `manage.py carillon relay` alone (`off`), or the serving
    processes as well (`in-process`)."""

    OUTBOX_DATABASES: Annotated[TupleOf[DatabaseName], Field(min_length=1)] = ("default",)
    """The names in `DATABASES` of the databases whose outbox is relayed."""

    OUTBOX_LEASE: Annotated[float, Field(ge=1, le=300)] = 10
    """Seconds without a renewal of the relay's lease after which another relay takes over."""

    OUTBOX_POLL: Annotated[float, Field(gt=0, le=60)] = 0.1
    """Seconds between two queries of the relay for rows that other processes wrote."""

    OUTBOX_KEY_AGE: Annotated[int, Field(ge=60)] = 30 * 24 * 60 * 60
    """Seconds for which the log remembers the relay's idempotency keys. If a relay was killed
    between publishing events and recording that, and another relay runs within this time, each
    event is still published once."""

    INBOX_LANGUAGE: ImportPath | None = None
    """The import path of a function that returns the language code of a user, for the texts of
    notifications that arrive while a page is open. Without it they are in `LANGUAGE_CODE`, and a
    page in another language fetches its text."""

    INBOX_AGE: Annotated[int, Field(ge=1)] = 90 * 24 * 60 * 60
    """Seconds after which `carillon tidy` deletes a notification, unless its category says
    otherwise."""

    INBOX_ARCHIVED_AGE: Annotated[int, Field(ge=1)] = 30 * 24 * 60 * 60
    """Seconds after which an archived, withdrawn or expired notification is deleted."""

    INBOX_DELIVERY_LEASE: Annotated[float, Field(ge=1, le=3600)] = 300
    """Seconds after which another process sends what the one that was to send it has not: longer
    than the mail server may take for one message."""

    SITE_URL: SiteUrl | None = None
    """The address of the site (`https://example.com`), for the links in e-mails and in push
    messages."""

    PUSH_KEY: PushKey | None = None
    """The private key of push messages (VAPID), made by `manage.py carillon push-key`. Without one
    the site offers none."""

    PUSH_SERVICES: TupleOf[PushService] = (
        "https://fcm.googleapis.com",
        "https://jmt17.google.com",
        "https://*.push.services.mozilla.com",
        "https://*.push.apple.com",
        "https://*.notify.windows.com",
    )
    """Where push messages may be sent: the push services of browsers. A person's browser names the
    address, so it may not be any one."""

    @model_validator(mode="after")
    def _log_is_configured(self) -> Self:
        if self.LOG == "redis" and not self.REDIS_URL:
            raise wrong(
                "REDIS_URL",
                "is not set: name a Redis or Valkey server, such as redis://localhost:6379/0, or "
                'set LOG to "memory"',
            )
        if self.LOG == "embedded" and self.DATA_DIR is None:
            raise wrong("DATA_DIR", "is not set: the embedded server needs a folder for its file")
        return self

    @property
    def uses_outbox(self) -> bool:
        """Whether the site names the outbox at all. By themselves the settings have defaults."""
        return self.OUTBOX != "off" or "OUTBOX_DATABASES" in self.model_fields_set


UNLIMITED = {
    "MAX_STREAMS": 0,
    "MAX_STREAMS_PER_ADDRESS": 0,
    "MAX_STREAMS_PER_USER": 0,
    "MAX_STREAM_AGE": 0,
    "PUBLISH_RATE": 0,
}
"""The defaults of these settings with `DEBUG`."""


@cache
def get_settings() -> Settings:
    """The validated settings. Raises `ImproperlyConfigured`, which names every wrong key."""
    values: object = getattr(django_settings, "CARILLON", {})
    if django_settings.DEBUG and isinstance(values, dict):
        values = {**UNLIMITED, **values}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ImproperlyConfigured("\n".join(explain(error, Settings))) from None


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("CARILLON", "DEBUG"):
        get_settings.cache_clear()
