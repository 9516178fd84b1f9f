"""Responses that arrive piece by piece: chunks, CSV files, templates, and token streams."""

from notifications.publishing.token_stream import Stopped, TokenStream, stop_topic, token_stream
from notifications.streaming.csv import CsvStream
from notifications.streaming.responses import UnbufferedResponse
from notifications.streaming.templates import stream_template

__all__ = [
    "CsvStream",
    "Stopped",
    "TokenStream",
    "UnbufferedResponse",
    "stop_topic",
    "stream_template",
    "token_stream",
]
