"""The HTTP interface: the views behind `notifications.urls` and the project's own URLs."""
