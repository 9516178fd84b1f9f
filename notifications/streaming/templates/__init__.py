"""Django's templates, piece by piece: what is ready goes out, and what is not is waited for."""

from notifications.streaming.templates.stream import stream_template

__all__ = ["stream_template"]
