"""The marker `nonblocking`: a view or a middleware promises that it never blocks the event loop.

The mark is read before Django sees the request (`routes`) and when the middleware chain is built
(`blocking`). Whatever has it runs on the event loop, where Django would use a thread.
"""

_MARK = "_carillon_nonblocking"


def nonblocking[Marked](marked: Marked) -> Marked:
    """Mark an async view, so that requests for it take the fast path, or a middleware class.

    A marked class promises that none of its hooks blocks (no database, cache, file or network) and
    that none leaves anything in its thread or on a connection. A subclass does not inherit the
    mark: it has to make the promise itself.
    """
    setattr(marked, _MARK, True)
    return marked


runs_on_loop = nonblocking
"""The former name of `nonblocking`."""


def is_nonblocking(view: object) -> bool:
    """Whether a view is marked. `functools.wraps` copies the mark to a wrapper of the view."""
    return getattr(view, _MARK, False) is True


def is_nonblocking_class(kind: type) -> bool:
    """Whether a middleware class itself is marked, and not only one of its bases."""
    return vars(kind).get(_MARK, False) is True
