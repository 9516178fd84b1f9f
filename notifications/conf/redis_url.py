"""The parts of a `REDIS_URL`: where Redis is, or which servers know where it is now."""

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
DEFAULT_PORTS: dict[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """`server` is redis-py's URL for the log's server, with the first of the `addresses`.

    `sentinel` is redis-py's URL for a Sentinel, which has its own users, and no databases.
    """

    kind: Kind
    server: str
    sentinel: str = ""
    addresses: tuple[Address, ...] = ()
    service: str = ""

    @property
    def is_tls(self) -> bool:
        return self.server.startswith("rediss:")


def parse(url: str) -> RedisUrl:
    """Raises `ValueError`, whose text does not repeat the URL: it may contain a password."""
    parts = urlsplit(url)
    kind = SCHEMES.get(parts.scheme)
    if kind is None or not url.startswith(f"{parts.scheme}://"):
        *others, last = (f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"it must begin with {', '.join(others)} or {last}")
    options = dict(parse_qsl(parts.query))
    if not parts.scheme.startswith("rediss") and (tls := sorted(filter(_is_tls_option, options))):
        raise ValueError(f"{tls[0]} is for TLS: it must begin with rediss")
    if kind == "server":
        return RedisUrl(kind, url)
    user, _, hosts = parts.netloc.rpartition("@")
    addresses = tuple(_address(host, DEFAULT_PORTS[kind]) for host in hosts.split(","))
    service, database = _path(kind, parts)
    sentinel_user = {name: options.pop(f"sentinel_{name}", "") for name in ("username", "password")}
    host, port = addresses[0]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    scheme = parts.scheme.partition("+")[0]
    query = f"?{urlencode(options)}" if options else ""
    sentinel_options = {name: value for name, value in (options | sentinel_user).items() if value}
    return RedisUrl(
        kind,
        f"{scheme}://{user}{'@' if user else ''}{address}/{database}{query}",
        f"{scheme}://{address}?{urlencode(sentinel_options)}",
        addresses,
        service,
    )


def _is_tls_option(name: str) -> bool:
    return name.startswith("ssl_")


def _address(text: str, default_port: int) -> Address:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or parts.path:
        raise ValueError("its hosts must look like one:26379,other:26379")
    return host, port or default_port


def _path(kind: Kind, parts: SplitResult) -> tuple[str, int]:
    """The service, if the URL names one, and the number of the database."""
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
