"""The errors of Carillon: each has a code, an HTTP status, and a detail that says what to do.

`code` is permanent: it is the last part of the problem's `type`, and programs compare it.
The translation to a response (RFC 9457) is in `views/problems.py`, and only there.
"""

from typing import Any, ClassVar, Literal

type Outcome = Literal["not_sent", "unknown"]


class CarillonError(Exception):
    """The root of the tree. `extensions` become further members of the problem document."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, **extensions: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extensions = extensions


class BadRequest(CarillonError):
    code, status, title = "bad-request", 400, "The request cannot be understood"


class Unauthenticated(CarillonError):
    """Answered with `WWW-Authenticate`, as RFC 9110 §15.5.2 requires."""

    code, status, title = "unauthenticated", 401, "Credentials are missing or wrong"


class Forbidden(CarillonError):
    code, status, title = "forbidden", 403, "Not allowed"


class UserChanged(Forbidden):
    """The session is of another user than the page. A stream says so in its closing block."""

    code, status, title = "user-changed", 403, "Another user has logged in"


class NotFound(CarillonError):
    code, status, title = "not-found", 404, "There is nothing here"


class MethodNotAllowed(CarillonError):
    """Answered with `Allow`, from the extension `allowed`."""

    code, status, title = "method-not-allowed", 405, "The method is not allowed here"


class NotAcceptable(CarillonError):
    code, status, title = "not-acceptable", 406, "The answer is an event stream"


class TooLarge(CarillonError):
    code, status, title = "too-large", 413, "The content is too large"


class NoRoom(CarillonError):
    code, status, title = "no-room", 507, "There is no room for the content"


class TargetTooLong(CarillonError):
    code, status, title = "uri-too-long", 414, "The request target is too long"


class UnsupportedMediaType(CarillonError):
    code, status, title = "unsupported-media-type", 415, "The content type is not supported"


class Invalid(CarillonError, ValueError):
    """A value that is no valid event, topic or cursor. `errors`, if any, lists every fault."""

    code, status, title = "invalid", 422, "The event is not valid"


class Conflict(CarillonError):
    """An idempotency key that was used before, with another body."""

    code, status, title = "idempotency-conflict", 422, "The idempotency key was used before"

    @classmethod
    def at(cls, index: int) -> "Conflict":
        return cls(
            "This idempotency key was used with a different body in the last minutes: "
            "repeat the body unchanged, or use a new key.",
            index=index,
        )


class TooMany(CarillonError):
    """Answered with `Retry-After`, from the extension `retry_after` (seconds)."""

    code, status, title = "too-many-requests", 429, "Too much at once"


class Unavailable(CarillonError):
    """The log did not acknowledge in time.

    `outcome` is `not_sent` where the log certainly did not keep the event, and `unknown` where it
    may have kept it. Publishing again with the same idempotency key is safe in both cases.
    """

    code, status, title = "unavailable", 503, "The log cannot be reached"

    def __init__(self, detail: str, *, outcome: Outcome) -> None:
        super().__init__(detail, outcome=outcome)
        self.outcome = outcome


class DatabaseAway(CarillonError):
    """Nothing was changed, or nothing that another attempt would not change to the same."""

    code, status, title = "database-away", 503, "The database cannot be reached"


class NotReady(CarillonError):
    code, status, title = "not-ready", 503, "Streams are not served here now"


class OutboxLate(CarillonError):
    code, status, title = "outbox-late", 503, "The outbox is not relayed"


class NotInstalled(CarillonError):
    code, status, title = "not-installed", 501, "This is not installed here"


class NeedsAsgi(CarillonError):
    code, status, title = "needs-asgi", 501, "Event streams need an ASGI server"
