"""Signals about permissions: one that may have ended becomes a control entry.

A control entry reaches every process, which then ends or rechecks the streams of its subjects.
`row_signals.py` has the handlers, and `session_signals.py` those of log-ins and log-outs.
"""

from notifications.access import row_signals
from notifications.hub import runtime
from notifications.log.entries import ControlEntry


def connect() -> None:
    """Connects the handlers: call it once, when Django's applications are loaded."""
    runtime.control_observers.append(_on_control)
    row_signals.connect()


def _on_control(control: ControlEntry) -> None:
    """Another process may have changed these keys and users."""
    row_signals.note_changes(control.subjects)
