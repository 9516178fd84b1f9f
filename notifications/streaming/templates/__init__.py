"""Django's templates, piece by piece: text is sent when it is ready, and values are awaited."""

from notifications.streaming.templates.stream import stream_template

__all__ = ["stream_template"]
