"""The outbox: what waits to be published, and what was refused and can be tried again."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from notifications.admin.operations import CHANGE, VIEW
from notifications.models import OutboxEvent

if TYPE_CHECKING:
    OutboxAdminBase = admin.ModelAdmin[OutboxEvent]
else:  # it is generic only in the type stubs
    OutboxAdminBase = admin.ModelAdmin

SHOWN_CHARACTERS = 500


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("waiting", "Waiting"), ("refused", "Refused")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() is None:
            return queryset
        return queryset.filter(refused_at__isnull=self.value() == "waiting")


@admin.register(OutboxEvent)
class OutboxEventAdmin(OutboxAdminBase):
    """Whoever may see and end live streams may see this, and try again what was refused."""

    list_display = ("name", "topics", "type", "created_at", "refused_at", "refusal")
    list_filter = (StateFilter,)
    fields = ("name", "topics", "type", "content", "created_at", "refused_at", "refusal")
    readonly_fields = fields
    show_full_result_count = False
    ordering = ("pk",)
    actions = ("retry",)

    @admin.display(description="data")
    def content(self, obj: OutboxEvent) -> str:
        return bytes(obj.data).decode(errors="replace")[:SHOWN_CHARACTERS]

    @admin.action(description="Try the selected events again", permissions=["change"])
    def retry(self, request: HttpRequest, queryset: QuerySet[OutboxEvent]) -> None:
        count = queryset.exclude(refused_at=None).update(refused_at=None, refusal="")
        messages.success(request, f"The relay tries {count} of them again.")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(VIEW)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(CHANGE)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: `publish_outbox` writes the rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Of an event that was refused alone: one that waits will be published."""
        is_refused = obj is not None and obj.refused_at is not None
        return is_refused and self.has_change_permission(request)
