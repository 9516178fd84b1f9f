"""Notifications in the admin: for superusers alone, since they were written for one person."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join

from notifications.inbox.explanation import explain
from notifications.inbox.kinds import kinds
from notifications.inbox.models import Notification
from notifications.inbox.rendering import Renderer

if TYPE_CHECKING:
    NotificationAdminBase = admin.ModelAdmin[Notification]
else:  # it is generic only in the type stubs
    NotificationAdminBase = admin.ModelAdmin


class KindFilter(admin.SimpleListFilter):
    """The kinds that are declared: to ask the table for them would be to read all of it."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        return sorted((kind.name, kind.name) for kind in kinds())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(Notification)
class NotificationAdmin(NotificationAdminBase):
    list_display = ("recipient", "kind", "state", "number", "created_at")
    list_filter = ("state", KindFilter)
    list_select_related = ("recipient",)
    show_full_result_count = False
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Notification]:
        """From the primary, as every page reads them."""
        return super().get_queryset(request).using(router.db_for_write(Notification))

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        return (f"recipient__{get_user_model().USERNAME_FIELD}",)

    def get_fields(self, request: HttpRequest, obj: Notification | None = None) -> Any:
        names = [field.name for field in Notification._meta.concrete_fields]  # noqa: SLF001
        return ("text", "what_became_of_it", *names)

    @admin.display
    def text(self, obj: Notification) -> str:
        return Renderer().content(obj).text

    @admin.display
    def what_became_of_it(self, obj: Notification) -> str:
        steps = explain(obj, using=router.db_for_write(Notification))
        lines = ((localize(each.at) if each.at else "–", each.text) for each in steps)
        return format_html("<ol>{}</ol>", format_html_join("", "<li>{} {}</li>", lines))

    def get_readonly_fields(self, request: HttpRequest, obj: Notification | None = None) -> Any:
        return self.get_fields(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: `notify` writes the event with the row."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody: pages would not be told. `withdraw` takes a notification back."""
        return False
