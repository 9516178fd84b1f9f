"""Responses that arrive piece by piece."""

from notifications.streaming.tables import CsvStream
from notifications.streaming.templates import stream_template
from notifications.streaming.tokens import Stopped, TokenStream, stop_topic, token_stream
from notifications.streaming.unbuffered import UnbufferedResponse

__all__ = [
    "CsvStream",
    "Stopped",
    "TokenStream",
    "UnbufferedResponse",
    "stop_topic",
    "stream_template",
    "token_stream",
]
