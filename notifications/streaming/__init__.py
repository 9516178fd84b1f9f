"""Responses that arrive piece by piece."""
