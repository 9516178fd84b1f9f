"""What may follow the `?` of a `REDIS_URL`: one decision for each option that redis-py knows.

redis-py lets an option of the URL win over what its caller sets, and passes names that it does not
know to a constructor, which raises at the first connection. So every option is decided here, before
redis-py sees it. `docs/run.md` shows `OPTIONS`, and a test compares both.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from ssl import VerifyFlags


class Decision(StrEnum):
    ACCEPTED = "accepted"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Option:
    """Options that share a decision. `note` follows the name in an error and in the documentation.

    `check` raises `ValueError`, with the right spelling, for a value that redis-py does not take
    as it is meant.
    """

    names: tuple[str, ...]
    decision: Decision
    note: str
    check: Callable[[str], object] = str


def _whole_number(text: str) -> None:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("write a whole number, such as 1")


def _flag(text: str) -> None:
    # redis-py takes every other text, such as `off` and `none`, for true.
    if text.upper() not in {*("1", "T", "TRUE", "Y", "YES"), *("0", "F", "FALSE", "N", "NO")}:
        raise ValueError("write true or false")


def _client_name(text: str) -> None:
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("write visible ASCII characters without spaces")


CERTIFICATE_REQUIREMENTS = ("required", "optional", "none")


def _certificate_requirement(text: str) -> None:
    if text in CERTIFICATE_REQUIREMENTS:
        return
    meant = text.lower().removeprefix("ssl.").removeprefix("cert_")
    if meant in CERTIFICATE_REQUIREMENTS:
        raise ValueError(f"redis-py's spelling is {meant}: write ssl_cert_reqs={meant}")
    raise ValueError(f"write {', '.join(CERTIFICATE_REQUIREMENTS[:-1])} or none")


def _tls_version(text: str) -> None:
    if text not in ("771", "772"):
        raise ValueError("write 771 for TLS 1.2, or 772 for TLS 1.3")


def _verify_flags(text: str) -> None:
    for flag in text.strip("[]").split(","):
        if flag.strip() not in VerifyFlags.__members__:
            known = ", ".join(VerifyFlags.__members__)
            raise ValueError(f"write some of these names, with commas between them: {known}")


ACCEPTED, IGNORED, REFUSED = Decision.ACCEPTED, Decision.IGNORED, Decision.REFUSED

OPTIONS = (
    Option(("db",), ACCEPTED, "the number of the database, also in the path", _whole_number),
    Option(("username", "password"), ACCEPTED, "the log's user, also in front of the host"),
    Option(
        ("sentinel_username", "sentinel_password"),
        ACCEPTED,
        "the Sentinels' user, only with `redis+sentinel://` and `rediss+sentinel://`",
    ),
    Option(("client_name",), ACCEPTED, "a name for `CLIENT LIST`", _client_name),
    Option(("socket_keepalive",), ACCEPTED, "whether TCP notices a dead peer", _flag),
    Option(("ssl_ca_certs", "ssl_ca_path"), ACCEPTED, "the authorities to trust: a file, a folder"),
    Option(("ssl_ca_data",), ACCEPTED, "the authorities to trust, as PEM text"),
    Option(
        ("ssl_certfile", "ssl_keyfile", "ssl_password"),
        ACCEPTED,
        "Carillon's own certificate, its key, and the password of the key",
    ),
    Option(
        ("ssl_cert_reqs",),
        ACCEPTED,
        "`required` (the default), `optional` or `none`, which trusts any server. `CERT_NONE` and "
        "other spellings are refused",
        _certificate_requirement,
    ),
    Option(
        ("ssl_check_hostname",),
        ACCEPTED,
        "whether the certificate must have the server's name: `true` (the default) or `false`",
        _flag,
    ),
    Option(("ssl_min_version",), ACCEPTED, "`771` for TLS 1.2, `772` for TLS 1.3", _tls_version),
    Option(("ssl_ciphers",), ACCEPTED, "OpenSSL's names of the ciphers to allow"),
    Option(
        ("ssl_include_verify_flags", "ssl_exclude_verify_flags"),
        ACCEPTED,
        "names of Python's `ssl.VerifyFlags`, with commas between them",
        _verify_flags,
    ),
    Option(
        ("decode_responses", "encoding", "encoding_errors", "protocol", "legacy_responses"),
        IGNORED,
        "Carillon reads bytes in RESP2, and writes UTF-8",
    ),
    Option(
        ("retry_on_timeout", "health_check_interval", "socket_read_size"),
        IGNORED,
        "Carillon repeats a call itself, where that is safe, and closes idle connections",
    ),
    Option(("lib_name", "lib_version"), IGNORED, "redis-py names itself in `CLIENT LIST`"),
    Option(
        ("socket_timeout", "socket_connect_timeout", "timeout"),
        REFUSED,
        "set `CARILLON_PUBLISH_TIMEOUT`, which bounds every call",
    ),
    Option(
        ("max_connections",),
        REFUSED,
        "set `CARILLON_REDIS_CONNECTIONS`, which bounds the connections of a process",
    ),
    Option(
        (
            *("ssl_validate_ocsp", "ssl_validate_ocsp_stapled"),
            *("ssl_ocsp_context", "ssl_ocsp_expected_cert"),
        ),
        REFUSED,
        "leave it out: redis-py has no OCSP in an event loop",
    ),
    Option(("host", "port"), REFUSED, "write it after the `//`, as `redis://host:6379`"),
    Option(("path",), REFUSED, "write `unix:///run/redis.sock`"),
    Option(
        (
            *("args", "cache_factory", "command_packer", "connection_class", "credential_provider"),
            *("driver_info", "encoder_class", "event_dispatcher", "himport_registry"),
            *("maint_notifications_config", "maint_notifications_pool_handler"),
            *("maintenance_notification_hash", "maintenance_state"),
            *("orig_host_address", "orig_socket_connect_timeout", "orig_socket_timeout"),
            *("oss_cluster_maint_notifications_handler", "parser", "parser_class", "queue_class"),
            *("redis_connect_func", "retry", "retry_on_error", "socket_keepalive_options"),
            "socket_type",
        ),
        REFUSED,
        "leave it out: redis-py takes a Python object here, and a URL has none",
    ),
)
_BY_NAME = {name: option for option in OPTIONS for name in option.names}
_ACCEPTED_NAMES = [name for name, option in _BY_NAME.items() if option.decision is ACCEPTED]


def accepted(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The options that redis-py gets, of the names and values in a URL.

    Raises `ValueError`, which names the option and says what to write, and never shows its value.
    """
    options: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in pairs:
        option = _BY_NAME.get(name)
        if option is None:
            # What is no name may be a part of a password.
            shown = f" {name}" if re.fullmatch(r"[\w-]+", name) else ""
            raise ValueError(f"there is no option{shown}: {_instead_of(name)}")
        if option.decision is REFUSED:
            raise ValueError(f"the option {name} is refused: {option.note.replace('`', '')}")
        if name in seen:
            raise ValueError(f"the option {name} appears twice")
        seen.add(name)
        if option.decision is IGNORED:
            continue
        if not value:
            raise ValueError(f"the option {name} has no value")
        try:
            option.check(value)
        except ValueError as error:
            raise ValueError(f"the option {name} is not understood: {error}") from None
        options[name] = value
    return options


def _instead_of(name: str) -> str:
    if not re.fullmatch(r"[\w-]+", name):
        return "in a password, write ? as %3F, & as %26 and / as %2F"
    if name.lower() in ("ssl", "tls"):
        return "for TLS, begin with rediss"
    if near := get_close_matches(name.lower(), _ACCEPTED_NAMES, n=1, cutoff=0.5):
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(_ACCEPTED_NAMES)}"
