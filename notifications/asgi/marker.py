"""Markers of views and middleware. `nonblocking`: a promise never to block the event loop.

That mark is read before Django sees the request (`routes`) and when the middleware chain is built
(`blocking`). Whatever has it runs on the event loop, where Django would use a thread.
"""

_MARK = "_carillon_nonblocking"
_PROBE = "_carillon_probe"
_WITHOUT_LOGIN = {
    # Django's LoginRequiredMiddleware, and that of django-login-required-middleware
    "login_required": False,
    # django-stronghold
    "STRONGHOLD_IS_PUBLIC": True,
}


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


def judges_itself[View](view: View) -> View:
    """Mark a view that authorizes its requests itself: no middleware may ask for a login before.

    A redirect to a login page ends a browser's EventSource, is no answer to a program, and puts the
    URL with its signed link into the parameter `next` of another URL.
    """
    for name, value in _WITHOUT_LOGIN.items():
        setattr(view, name, value)
    return view


def probe[View](view: View) -> View:
    """Mark an async view of health or metrics, which is answered whatever the host is (`probes`).

    The mark is the view itself, because `functools.wraps` copies it: a view around it, which a site
    may have made to restrict access, is no probe.
    """
    setattr(view, _PROBE, view)
    return view


def is_probe(view: object) -> bool:
    return getattr(view, _PROBE, None) is view


def is_nonblocking(view: object) -> bool:
    """Whether a view is marked. `functools.wraps` copies the mark to a wrapper of the view."""
    return getattr(view, _MARK, False) is True


def is_nonblocking_class(kind: type) -> bool:
    """Whether a middleware class itself is marked, and not only one of its bases."""
    return vars(kind).get(_MARK, False) is True
