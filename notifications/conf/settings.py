"""`CARILLON`, the one settings dict: its keys, their defaults and their limits.

The app reads settings here and nowhere else, when they are used, and never from the environment.
"""

from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from notifications.conf import redis_url
from notifications.conf.jwt import Issuer
from notifications.errors import Invalid
from notifications.topics import Pattern

KIB = 1024
MIB = 1024 * KIB


def _checked(pattern: str) -> str:
    try:
        return Pattern(pattern).text
    except Invalid as error:
        raise ValueError(error.detail) from None


def _redis_url(url: str) -> str:
    redis_url.parse(url)
    return url


type TopicPattern = Annotated[str, AfterValidator(_checked)]
# What arrives in `Authorization` as it was sent, whatever lies between.
type PublishKey = Annotated[str, StringConstraints(min_length=16, pattern=r"^[!-~]+$")]
type RedisUrl = Annotated[str, AfterValidator(_redis_url)]
# As a browser writes it in `Origin`: it is compared as text.
type Origin = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*://[^/?#*\s]+$")]

# One address is a network, too.
type Network = Annotated[
    IPv4Network | IPv6Network, BeforeValidator(lambda text: ip_network(text, strict=False))
]

type Several[T] = Annotated[tuple[T, ...], Field(strict=False)]


class Settings(BaseModel):
    """Durations are seconds and sizes are bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    LOG: Literal["redis", "memory", "embedded"] = "redis"
    """Where events are kept: a Redis or Valkey server; this process; the embedded Valkey."""

    REDIS_URL: RedisUrl | None = None
    """For `LOG: redis`: `redis://`, `rediss://` or `unix://`,
    `redis+sentinel://host:26379,other:26379/service/0` or `redis+cluster://host:6379,other:6379`,
    and with TLS `rediss+sentinel://` and `rediss+cluster://`."""

    DATA_DIR: Path | None = None
    """The folder of the embedded server's append-only file, for `LOG: embedded`."""

    KEY_PREFIX: Annotated[str, StringConstraints(pattern=r"^[\w.:-]{1,64}$")] = "carillon"
    """What the names of all our Redis keys begin with, so that services can share a server."""

    PUBLISH_KEYS: Several[PublishKey] = ()
    """Bearer keys that may publish to every topic. At least 16 characters each,
    of visible ASCII."""

    PUBLIC_TOPICS: Several[TopicPattern] = ()
    """Patterns of topics that anyone may subscribe to, unless `ACCESS` says who may: `news` covers
    `news` and `news.…`, `demo.` covers `demo.…`."""

    ACCESS: Annotated[str, StringConstraints(pattern=r"^[\w.]+\.[\w]+$")] | None = None
    """Where the rules are (`"myapp.access.rules"`) that say who may hear and who may speak."""

    JWT: Issuer | None = None
    """Whose bearer tokens are taken: `{"KEYS": {kid: {"ALGORITHM": …, "KEY": …}}, "AUDIENCE": …,
    "ISSUER": …}`. The algorithm is HS256, RS256, ES256 or EdDSA."""

    QUERY_TOKENS: bool = False
    """Whether `?token=…` is read for `Authorization`, which a URL shows to whoever logs it."""

    LINK_AGE: Annotated[int, Field(ge=1)] = 12 * 60 * 60
    """For how long a link made by `events_url` can be opened, unless it says."""

    CORS_ALLOWED_ORIGINS: Several[Origin] = ()
    """Origins (`https://app.example.com`) whose pages may read streams, with credentials."""

    HISTORY_EVENTS: Annotated[int, Field(ge=1)] = 100_000
    HISTORY_BYTES: Annotated[int, Field(ge=64 * KIB)] = 64 * MIB
    HISTORY_AGE: Annotated[int, Field(ge=1)] = 24 * 60 * 60
    """The log keeps this many events, bytes and seconds, whichever is least."""

    KEEPALIVE: Annotated[float, Field(gt=0, le=300)] = 20
    """The mean pause between two keep-alives of a stream; each is jittered by a quarter."""

    WRITE_DEADLINE: Annotated[float, Field(gt=0)] = 30
    """How long a subscriber may take to accept one chunk before its stream is closed."""

    DRAIN_SECONDS: Annotated[float, Field(ge=0, le=300)] = 5
    """`carillon serve`: a process that is to end spreads the ends of its streams over this time,
    so that their browsers do not all come back at once. 0: at once."""

    GRANT_MAX_AGE: Annotated[float, Field(gt=0)] = 10 * 60
    """After how long everyone is asked again whether they may hear what they hear."""

    MAX_STREAMS: Annotated[int, Field(ge=0)] = 15_000
    """How many streams a process has open at most; whoever comes then is told to come later. 0, as
    for the next four: no limit. In development there is none unless it is set."""

    MAX_STREAMS_PER_ADDRESS: Annotated[int, Field(ge=0)] = 0
    """How many from one address, an IPv6 network of 64 bits being one. Behind a proxy all come from
    its address, unless `TRUSTED_PROXIES` names it."""

    MAX_STREAMS_PER_USER: Annotated[int, Field(ge=0)] = 100
    """How many of one user, by session, link or token. Keys are not users."""

    MAX_STREAM_AGE: Annotated[float, Field(ge=0)] = 60 * 60
    """After how long, give or take a quarter, a stream ends so that its browser comes back, and may
    come to another process."""

    PUBLISH_RATE: Annotated[float, Field(ge=0)] = 0
    """How many events a second each publisher may publish to a process."""

    TRUSTED_PROXIES: Several[Network] = ()
    """Addresses and networks of the proxies whose `X-Forwarded-For` is believed."""

    REQUEST_TIMEOUT: Annotated[float, Field(gt=0, le=300)] = 15
    """`carillon serve`: for how long it waits for the head of a request, or for a body that stands
    still; at most twice as long."""

    MAX_REQUEST_BYTES: Annotated[int, Field(ge=64 * KIB)] = 64 * MIB
    """`carillon serve`: the largest body of any request."""

    METRICS_KEYS: Several[PublishKey] = ()
    """Bearer keys that may read `/metrics`. Without any nobody may, but in development."""

    MAX_EVENT_BYTES: Annotated[int, Field(ge=1)] = 64 * KIB
    """The largest `data` of one event, as it is sent."""

    MAX_BATCH_EVENTS: Annotated[int, Field(ge=1)] = 1_000
    MAX_BATCH_BYTES: Annotated[int, Field(ge=1)] = 8 * MIB
    """The limits of one publish request."""

    PUBLISH_TIMEOUT: Annotated[float, Field(gt=0)] = 2
    """How long publishing waits for the log's acknowledgement."""

    WAIT_REPLICAS: Annotated[int, Field(ge=0)] = 0
    """How many replicas of Redis must have an event before publishing is acknowledged."""

    IDEMPOTENCY_AGE: Annotated[int, Field(ge=1)] = 10 * 60
    """How long an idempotency key is remembered."""

    OUTBOX: Literal["off", "in-process"] = "off"
    """Who relays the outbox: `manage.py carillon relay` alone, or the processes that serve, too."""

    OUTBOX_DATABASES: Annotated[Several[str], Field(min_length=1)] = ("default",)
    """The databases whose outbox is relayed, by their names in `DATABASES`."""

    OUTBOX_LEASE: Annotated[float, Field(ge=1, le=300)] = 10
    """After how long without a sign of life another relay takes over."""

    OUTBOX_POLL: Annotated[float, Field(gt=0, le=60)] = 0.5
    """How often the relay looks for what other processes wrote."""

    OUTBOX_KEY_AGE: Annotated[int, Field(ge=60)] = 30 * 24 * 60 * 60
    """For how long no relay may run at all after one was killed between publishing and saying so:
    what it had in hand comes once all the same."""

    @model_validator(mode="after")
    def _log_has_its_place(self) -> Self:
        if self.LOG == "redis" and not self.REDIS_URL:
            raise ValueError('REDIS_URL is not set: name a Redis server, or set LOG to "memory"')
        if self.LOG == "embedded" and self.DATA_DIR is None:
            raise ValueError("DATA_DIR is not set: the embedded server needs a folder for its file")
        return self


UNLIMITED = dict.fromkeys(
    (
        *("MAX_STREAMS", "MAX_STREAMS_PER_ADDRESS", "MAX_STREAMS_PER_USER"),
        *("MAX_STREAM_AGE", "PUBLISH_RATE"),
    ),
    0,
)


@cache
def get_settings() -> Settings:
    """The validated settings. Raises `ImproperlyConfigured`, naming every key that is wrong."""
    given: dict[str, Any] = getattr(django_settings, "CARILLON", {})
    if django_settings.DEBUG:
        given = {**UNLIMITED, **given}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise ImproperlyConfigured("\n".join(_explain(error))) from None


def _explain(error: ValidationError) -> list[str]:
    unknown = "there is no such setting"
    lines = []
    for fault in error.errors():
        key = ".".join(str(part) for part in fault["loc"])
        why = unknown if fault["type"] == "extra_forbidden" else fault["msg"]
        lines.append(f"CARILLON[{key!r}]: {why}" if key else f"CARILLON: {why}")
    return lines


@receiver(setting_changed)
def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("CARILLON", "DEBUG"):
        get_settings.cache_clear()
