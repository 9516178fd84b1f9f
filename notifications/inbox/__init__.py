"""The inbox: notifications of people, which they see, read and archive.

A notification is a row and an event, written together; what a person did with it is an event too.
"""

from notifications.inbox.changes import Action, mark, withdraw
from notifications.inbox.channels import Channel, Choice, Email, Push, Urgency
from notifications.inbox.delivery.deliverer import send_due
from notifications.inbox.delivery.states import Delivered
from notifications.inbox.kinds import Category, Kind, category, kind
from notifications.inbox.notify import anotify, notify
from notifications.inbox.states import Priority, State

__all__ = [
    "Action",
    "Category",
    "Channel",
    "Choice",
    "Delivered",
    "Email",
    "Kind",
    "Priority",
    "Push",
    "State",
    "Urgency",
    "anotify",
    "category",
    "kind",
    "mark",
    "notify",
    "send_due",
    "withdraw",
]
