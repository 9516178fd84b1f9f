"""Keep-alives, of which many are the same."""

from dataclasses import dataclass

from notifications.breath import STRIDE
from notifications.cursors import Cursor
from notifications.forms import Form
from notifications.wires.base import Parcel


@dataclass(slots=True)
class _Pulse:
    at: Cursor
    parcel: Parcel
    left: int


MAX_FORMS = 100


class Pulses:
    """Few share one, since it also says when to come back: not all at once."""

    def __init__(self) -> None:
        self._last: dict[Form, _Pulse] = {}

    def at(self, cursor: Cursor, form: Form) -> Parcel:
        pulse = self._last.get(form)
        if pulse is None or not pulse.left or pulse.at != cursor:
            if len(self._last) >= MAX_FORMS:
                self._last.clear()
            pulse = self._last[form] = _Pulse(cursor, Parcel(form.cursor(cursor)), STRIDE)
        pulse.left -= 1
        return pulse.parcel
