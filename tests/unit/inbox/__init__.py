"""The inbox: rows, events, numbers and counts."""
