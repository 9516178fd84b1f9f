"""Responses that arrive piece by piece."""

from notifications.streaming.tables import CsvStream
from notifications.streaming.tokens import Stopped, TokenStream, stop_topic, token_stream

__all__ = ["CsvStream", "Stopped", "TokenStream", "stop_topic", "token_stream"]
