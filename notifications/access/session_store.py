"""The site's session store, observed: a login that ends or moves becomes a control entry.

Django has a signal for a log-out and, for sessions in the database, for a row that is deleted. It
has none for the other ways in which a session ends or gets another key: `flush`, `delete`, `clear`,
`cycle_key`, `login` by another person. So the public methods of the store are wrapped once, in
place, for every engine. The wrappers look at data that is loaded anyway.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY

from notifications.access import session_ends
from notifications.access.identities import logins, session_life, session_queries
from notifications.access.session_moves import is_moving, moving
from notifications.publishing.control import RECHECK_WHEN_SAVED

OBSERVED = "_carillon_observed"
"""On a method: it is wrapped, here or in a class above."""
LOADED = "_carillon_login"
"""On a store: the subject of the login that was loaded or saved last."""
MOVED = "_carillon_moved"
"""On a store: its session has another key, and must be saved under it."""


def observe(store: Any) -> None:
    """Wraps the methods of a `SessionStore`, except those that are wrapped already."""
    for name, wrap in _WRAPPERS.items():
        method = getattr(store, name, None)
        if method is not None and not getattr(method, OBSERVED, False):
            wrapper = wrap(method)
            setattr(wrapper, OBSERVED, True)
            setattr(store, name, wrapper)
    clear = getattr(getattr(store, "clear_expired", None), "__func__", None)
    if clear is not None and not getattr(clear, OBSERVED, False):
        wrapper = session_ends.observed_clearing(clear)
        setattr(wrapper, OBSERVED, True)
        store.clear_expired = classmethod(wrapper)


# What the wrappers do. `self` is a store, whose class is not known before the site runs.


def _after_load(self: Any, data: dict[str, Any]) -> dict[str, Any]:
    setattr(self, LOADED, logins.subject_of(data, self.session_key))
    return data


def _before_save(self: Any, data: Any) -> str | None:
    """The login that is saved. A session from before gets an id, so that its key may change."""
    login = logins.subject_of(data, self.session_key)
    if login is not None and not logins.has_id(data):
        data[logins.LOGIN_KEY] = logins.value_for(data, login)
    if login is not None:
        session_life.note_saved(data)
    return login


def _before_create(self: Any) -> None:
    """A session without a key has only what has been put into it, so this loads nothing."""
    if not self.session_key and self.accessed and SESSION_KEY in self:
        session_life.note_saved(self)


def _has_news(self: Any, login: str | None) -> bool:
    """Whether something has to be ordered, for which a transaction may have to be asked."""
    flags = vars(self)
    return bool(flags.get(LOADED, login) != login or MOVED in flags or RECHECK_WHEN_SAVED in flags)


def _after_save(self: Any, login: str | None) -> None:
    before = getattr(self, LOADED, None)
    setattr(self, LOADED, login)
    store = type(self)
    if before is not None and before != login:
        session_ends.end(before, store=store)
    flags = vars(self)
    moved, recheck = flags.pop(MOVED, False), flags.pop(RECHECK_WHEN_SAVED, False)
    if login is None or not (moved or recheck):
        return
    # Under signed_cookies the data is in the key.
    reason = ""
    if moved or logins.is_in_cookie(store):
        reason = logins.moved_reason(self.session_key)
    session_ends.recheck(login, reason, store=store)


def _before_cycle(self: Any, data: Any) -> str | None:
    login = _before_save(self, data)
    if login is not None:
        session_ends.recheck_now(login, logins.MOVING)
    return login


def _after_cycle(self: Any, login: str) -> None:
    setattr(self, LOADED, login)
    setattr(self, MOVED, True)


def _is_own(self: Any, session_key: str | None) -> bool:
    return session_key is None or session_key == self.session_key


def _known_login(self: Any, *, own: bool) -> str | None:
    """The login that was loaded, while `flush` has cleared the data."""
    return getattr(self, LOADED, None) if own and not session_ends.has_rows(type(self)) else None


def _login_in(store: Any, session_key: str | None) -> str | None:
    """The login in a session without a row, whose deletion no signal reports."""
    if not session_key or session_ends.has_rows(store):
        return None
    session = store(session_key)
    return logins.subject_of(dict(session.items()), session.session_key)


def _after_delete(self: Any, *, own: bool, login: str | None) -> None:
    if own:
        setattr(self, LOADED, None)
    if login is not None:
        session_ends.end(login, store=type(self))


# The wrappers


def _wrap_load(load: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(load)
    def wrapper(self: Any) -> Any:
        return _after_load(self, session_queries.load(self, load))

    return wrapper


def _wrap_aload(load: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(load)
    async def wrapper(self: Any) -> Any:
        return _after_load(self, await load(self))

    return wrapper


def _wrap_save(save: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(save)
    def wrapper(self: Any, must_create: bool = False) -> Any:
        if must_create or is_moving() or not self.session_key:
            _before_create(self)
            return save(self, must_create)
        login = _before_save(self, self)
        result = save(self, must_create)
        _after_save(self, login)
        return result

    return wrapper


def _wrap_asave(save: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(save)
    async def wrapper(self: Any, must_create: bool = False) -> Any:
        if must_create or is_moving() or not self.session_key:
            _before_create(self)
            return await save(self, must_create)
        await self.aget(SESSION_KEY)  # loads the data, where it is not loaded
        login = _before_save(self, self)
        result = await save(self, must_create)
        if _has_news(self, login):
            await sync_to_async(_after_save)(self, login)
        return result

    return wrapper


def _wrap_create(create: Callable[..., Any]) -> Callable[..., Any]:
    """Of both forms: the result of the asynchronous one is awaited by its caller."""

    @wraps(create)
    def wrapper(self: Any) -> Any:
        _before_create(self)
        return create(self)

    return wrapper


def _wrap_cycle(cycle: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(cycle)
    def wrapper(self: Any) -> Any:
        login = None if is_moving() else _before_cycle(self, self)
        if login is None:
            return cycle(self)
        with moving():
            result = cycle(self)
        _after_cycle(self, login)
        return result

    return wrapper


def _wrap_acycle(cycle: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(cycle)
    async def wrapper(self: Any) -> Any:
        await self.aget(SESSION_KEY)
        login = None if is_moving() else _before_cycle(self, self)
        if login is None:
            return await cycle(self)
        with moving():
            result = await cycle(self)
        _after_cycle(self, login)
        return result

    return wrapper


def _wrap_delete(delete: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(delete)
    def wrapper(self: Any, session_key: str | None = None) -> Any:
        if is_moving():
            return delete(self, session_key)
        key, own = session_key or self.session_key, _is_own(self, session_key)
        login = _known_login(self, own=own) or _login_in(type(self), key)
        result = delete(self, session_key)
        _after_delete(self, own=own, login=login)
        return result

    return wrapper


def _wrap_adelete(delete: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(delete)
    async def wrapper(self: Any, session_key: str | None = None) -> Any:
        if is_moving():
            return await delete(self, session_key)
        key, own = session_key or self.session_key, _is_own(self, session_key)
        login = _known_login(self, own=own)
        login = login or await sync_to_async(_login_in)(type(self), key)
        result = await delete(self, session_key)
        _after_delete(self, own=own, login=login)
        return result

    return wrapper


_WRAPPERS = {
    "load": _wrap_load,
    "aload": _wrap_aload,
    "create": _wrap_create,
    "acreate": _wrap_create,
    "save": _wrap_save,
    "asave": _wrap_asave,
    "cycle_key": _wrap_cycle,
    "acycle_key": _wrap_acycle,
    "delete": _wrap_delete,
    "adelete": _wrap_adelete,
}
