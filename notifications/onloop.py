"""What never blocks and says so: it runs on the event loop instead of in a thread."""

_MARK = "_carillon_on_loop"


def runs_on_loop[Marked](marked: Marked) -> Marked:
    """Mark an async view, so that its requests take the cheap way in, or a middleware class.

    Of a class it promises that no hook of it blocks (no database, cache, file or network) nor
    leaves anything in its thread or on a connection. A subclass has to promise for itself.
    """
    setattr(marked, _MARK, True)
    return marked


def is_on_loop(view: object) -> bool:
    """Whether a view is marked, or whatever `functools.wraps` put around it."""
    return getattr(view, _MARK, False) is True


def is_class_on_loop(kind: type) -> bool:
    return vars(kind).get(_MARK, False) is True
