"""The parts of a `REDIS_URL`: where Redis is, or which servers know where it is now."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from notifications.conf import redis_options

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
    parts = _split(url)
    kind = SCHEMES[parts.scheme]
    options = redis_options.accepted(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.scheme.startswith("rediss") and (tls := sorted(filter(_is_tls_option, options))):
        raise ValueError(f"{tls[0]} is for TLS: it must begin with rediss")
    if kind != "sentinel" and (of_sentinel := sorted(filter(_is_sentinel_option, options))):
        raise ValueError(f"{of_sentinel[0]} is for Sentinels: it must begin with redis+sentinel")
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not parts.path:
            raise ValueError("it must look like unix:///run/redis.sock, with three slashes")
        return RedisUrl(kind, _with_query(url, options))
    user, _, hosts = parts.netloc.rpartition("@")
    default = "localhost" if kind == "server" else ""
    addresses = tuple(
        _address(host or default, DEFAULT_PORTS[kind])
        for host in ([hosts] if kind == "server" else hosts.split(","))
    )
    service, database = _path(kind, parts, options)
    if kind == "server":
        return RedisUrl(kind, _with_query(url, options))
    user_option = _user(options)
    user = user or user_option
    sentinel_user = {name: options.pop(f"sentinel_{name}", "") for name in ("username", "password")}
    host, port = addresses[0]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    scheme = parts.scheme.partition("+")[0]
    sentinel_options = {name: value for name, value in (options | sentinel_user).items() if value}
    return RedisUrl(
        kind,
        _with_query(f"{scheme}://{user}{'@' if user else ''}{address}/{database}", options),
        f"{scheme}://{address}?{urlencode(sentinel_options)}",
        addresses,
        service,
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may have the password
        raise ValueError(
            "it is not a URL: in a password, write all but letters, digits, - . _ ~ as %XX"
        ) from None
    if parts.scheme not in SCHEMES or not url.startswith(f"{parts.scheme}://"):
        *others, last = (f"{scheme}://" for scheme in SCHEMES)
        raise ValueError(f"it must begin with {', '.join(others)} or {last}")
    if "#" in url:
        raise ValueError("in a password, write # as %23")
    return parts


def _with_query(url: str, options: dict[str, str]) -> str:
    query = f"?{urlencode(options)}" if options else ""
    return f"{url.partition('?')[0]}{query}"


def _user(options: dict[str, str]) -> str:
    """The log's user as a URL has it before the `@`, if the options name one."""
    name, password = (quote(options.pop(key, ""), safe="") for key in ("username", "password"))
    return f"{name}:{password}" if password else name


def _is_tls_option(name: str) -> bool:
    return name.startswith("ssl_")


def _is_sentinel_option(name: str) -> bool:
    return name.startswith("sentinel_")


def _address(text: str, default_port: int) -> Address:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or parts.path:
        raise ValueError(
            "its hosts must look like one:26379,other:26379. In a password, write / as %2F, "
            "? as %3F and @ as %40"
        )
    return host, port or default_port


def _path(kind: Kind, parts: SplitResult, options: dict[str, str]) -> tuple[str, int]:
    """The service, if the URL names one, and the number of the database.

    An option `db` takes precedence over the path, as redis-py has it.
    """
    path = [unquote(part) for part in parts.path.split("/") if part]
    service = path.pop(0) if path and kind == "sentinel" else ""
    database = path.pop(0) if path else "0"
    if path or not (database.isascii() and database.isdigit()):
        raise ValueError(
            "its path must end with the number of a database, such as /0. In a password, write / "
            "as %2F"
        )
    if kind == "sentinel" and not service:
        raise ValueError("it must name a service: redis+sentinel://host:26379/mymaster/0")
    if kind != "server":
        database = options.pop("db", database)
    if kind == "cluster" and int(database):
        raise ValueError("a cluster has the database 0 alone")
    return service, int(database)
