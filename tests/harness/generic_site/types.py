from typing import Any

from django.utils.translation import gettext
from generic_notifications.types import NotificationType, register


@register
class Comment(NotificationType):  # type: ignore[misc]
    key = "comment"
    name = "Comments"
    description = "Somebody commented"

    def get_text(self, notification: Any) -> str:
        count = notification.metadata.get("count", 1)
        return f"{gettext('Yes')}: {notification.actor} wrote {count} to {notification.target}"
