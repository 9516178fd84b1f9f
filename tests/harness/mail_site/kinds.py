"""The kinds of this site, which the application of the inbox loads."""

from datetime import timedelta

from notifications.inbox import Email, category, kind

category("orders", title="Orders", email=Email(after=timedelta(seconds=1)))
PAID = kind("mail.paid", text="Order {{ number }} was paid", category="orders")
