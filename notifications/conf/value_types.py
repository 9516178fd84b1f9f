"""The types of settings: what a value must be, and the words for it.

`explanation` shows the `description` of a value, and the `title` and `examples` of a list's items.
It never shows the value of what is `SECRET`.
"""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, StringConstraints

from notifications.conf import redis_url
from notifications.errors import Invalid
from notifications.topics import Pattern


def _normalized_pattern(pattern: str) -> str:
    try:
        return Pattern(pattern).text
    except Invalid as error:
        raise ValueError(error.detail) from None


def _network(text: object) -> IPv4Network | IPv6Network:
    # Of a number, `ip_network` makes the address with this number.
    if not isinstance(text, str | IPv4Network | IPv6Network):
        raise ValueError("write an address as text")  # noqa: TRY004 - pydantic takes this one
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError("that is no address and no network") from None


def _check_redis_url(url: str) -> str:
    redis_url.parse(url)
    return url


SECRET: dict[str, JsonValue] = {"writeOnly": True}

type TopicPattern = Annotated[
    str,
    AfterValidator(_normalized_pattern),
    Field(title="patterns of topics", examples=["news", "demo."]),
]
# Visible ASCII only: no proxy on the way changes that in `Authorization`.
type BearerKey = Annotated[
    str,
    StringConstraints(min_length=16, pattern=r"^[!-~]+$"),
    Field(
        title="keys of at least 16 characters of visible ASCII",
        examples=["a-key-of-your-own"],
        json_schema_extra=SECRET,
    ),
]
type CheckedRedisUrl = Annotated[
    str,
    AfterValidator(_check_redis_url),
    Field(
        description="the URL of a Redis or Valkey server, such as redis://localhost:6379/0",
        json_schema_extra=SECRET,
    ),
]
# As a browser writes it in `Origin`: origins are compared as text.
type Origin = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*://[^/?#*\s]+$"),
    Field(title="origins without a path", examples=["https://app.example.com"]),
]
type SiteUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^/?#*\s]+$"),
    Field(description="the address of the site without a path, such as https://example.com"),
]

type PushKey = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$"),
    Field(
        description="a key that 'manage.py carillon push-key' has made",
        json_schema_extra=SECRET,
    ),
]
type PushService = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^/?#\s]+$"),
    Field(title="origins, in which * stands for anything", examples=["https://*.push.example.com"]),
]

# A single address is a network, too.
type Network = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(_network),
    Field(title="addresses and networks", examples=["192.0.2.1", "10.0.0.0/8"]),
]

type ImportPath = Annotated[
    str,
    StringConstraints(pattern=r"^[\w.]+\.[\w]+$"),
    Field(description="a dotted import path, such as myapp.access.rules"),
]

type DatabaseName = Annotated[str, Field(title="names in DATABASES", examples=["default"])]

type TupleOf[T] = Annotated[tuple[T, ...], Field(strict=False)]
