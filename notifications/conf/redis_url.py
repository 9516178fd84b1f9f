"""What a `REDIS_URL` says: where Redis is, or whom to ask where it is now."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

type Address = tuple[str, int]
type Kind = Literal["server", "sentinel", "cluster"]

SCHEMES: dict[str, Kind] = {
    "redis": "server",
    "rediss": "server",
    "unix": "server",
    "redis+sentinel": "sentinel",
    "rediss+sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "cluster",
}
PORTS: dict[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """`server` is redis-py's URL of the log's server; its address is the first of those given.

    `sentinel` is one for those who are asked: a Sentinel has users of its own, and no databases.
    """

    kind: Kind
    server: str
    sentinel: str = ""
    addresses: tuple[Address, ...] = ()
    service: str = ""


def parse(url: str) -> RedisUrl:
    """Raises `ValueError`, which does not repeat the URL: it may hold a password."""
    parts = urlsplit(url)
    kind = SCHEMES.get(parts.scheme)
    if kind is None or not url.startswith(f"{parts.scheme}://"):
        *others, last = (f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"it must begin with {', '.join(others)} or {last}")
    query = dict(parse_qsl(parts.query))
    if not parts.scheme.startswith("rediss") and (tls := sorted(filter(_is_of_tls, query))):
        raise ValueError(f"{tls[0]} is for TLS: it must begin with rediss")
    if kind == "server":
        return RedisUrl(kind, url)
    user, _, hosts = parts.netloc.rpartition("@")
    addresses = tuple(_address(host, PORTS[kind]) for host in hosts.split(","))
    service, database = _path(kind, parts)
    asked = {name: query.pop(f"sentinel_{name}", "") for name in ("username", "password")}
    host, port = addresses[0]
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    scheme = parts.scheme.partition("+")[0]
    given = f"?{urlencode(query)}" if query else ""
    asking = urlencode({name: value for name, value in (query | asked).items() if value})
    return RedisUrl(
        kind,
        f"{scheme}://{user}{'@' if user else ''}{place}/{database}{given}",
        f"{scheme}://{place}?{asking}",
        addresses,
        service,
    )


def _is_of_tls(option: str) -> bool:
    return option.startswith("ssl_")


def _address(text: str, default: int) -> Address:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or parts.path:
        raise ValueError("its hosts must look like one:26379,other:26379")
    return host, port or default


def _path(kind: Kind, parts: SplitResult) -> tuple[str, int]:
    """The service, if there is any, and the number of the database."""
    path = [unquote(part) for part in parts.path.split("/") if part]
    service = path.pop(0) if path and kind == "sentinel" else ""
    database = path.pop(0) if path else "0"
    if path or not (database.isascii() and database.isdigit()):
        raise ValueError("its path must end with the number of a database, such as /0")
    if kind == "sentinel" and not service:
        raise ValueError("it must name a service: redis+sentinel://host:26379/mymaster/0")
    if kind == "cluster" and int(database):
        raise ValueError("a cluster has the database 0 alone")
    return service, int(database)
