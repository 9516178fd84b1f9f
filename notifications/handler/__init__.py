"""The way in: from a server's connection to Django's view, and out of Django with the stream."""

from notifications.handler.application import CarillonASGIHandler

__all__ = ["CarillonASGIHandler"]
