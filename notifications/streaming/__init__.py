"""Responses that arrive piece by piece."""

from notifications.streaming.tables import CsvStream

__all__ = ["CsvStream"]
