"""API keys: create a key and see it once, change its patterns, revoke it."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from notifications.access.identities.api_keys import issue
from notifications.models import ApiKey, KeyState

if TYPE_CHECKING:
    KeyForm = forms.ModelForm[ApiKey]
    KeyAdmin = admin.ModelAdmin[ApiKey]
else:  # these are generic only in the type stubs
    KeyForm = forms.ModelForm
    KeyAdmin = admin.ModelAdmin


class PatternsField(forms.CharField):
    """One pattern on each line."""

    widget = forms.Textarea(attrs={"rows": 3, "cols": 40})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = (super().to_python(value) or "").splitlines()
        return [line.strip() for line in lines if line.strip()]


class ApiKeyForm(KeyForm):
    subscribe = PatternsField(
        label="May subscribe to",
        required=False,
        help_text="A pattern on each line: <code>news</code> covers news and all topics below it, "
        "<code>orders.*.paid</code> takes any one segment for the star, <code>*</code> covers "
        "every topic.",
    )
    publish = PatternsField(
        label="May publish to", required=False, help_text="A pattern on each line."
    )


@admin.register(ApiKey)
class ApiKeyAdmin(KeyAdmin):
    form = ApiKeyForm
    fields = ("name", "subscribe", "publish", "expires_at")
    readonly_fields = ("key", "state", "created_at", "revoked_at")
    list_display = (
        *("name", "key", "state", "subscribe_to", "publish_to"),
        *("expires_at", "created_at"),
    )
    search_fields = ("name", "prefix")
    actions = ("revoke",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        """From the primary: saving what a lagging replica has would make a revoked key valid."""
        return super().get_queryset(request).using(router.db_for_write(ApiKey))

    @admin.display(ordering="prefix")
    def key(self, obj: ApiKey) -> str:
        return f"crl_{obj.prefix}_…"

    @admin.display
    def state(self, obj: ApiKey) -> str:
        return obj.state.value

    @admin.display(description="may subscribe to")
    def subscribe_to(self, obj: ApiKey) -> str:
        return ", ".join(obj.subscribe)

    @admin.display(description="may publish to")
    def publish_to(self, obj: ApiKey) -> str:
        return ", ".join(obj.publish)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.fields if obj is None else (*self.fields, *self.readonly_fields)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """All fields of a revoked key, so that the record of what it allowed stays."""
        revoked = obj is not None and obj.state is KeyState.REVOKED
        return (*self.fields, *self.readonly_fields) if revoked else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Only keys that have ended can be deleted: revoke an active key first."""
        active = obj is not None and obj.state is KeyState.ACTIVE
        return not active and super().has_delete_permission(request, obj)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # These buttons would lead past the page that shows the key.
        hidden = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **hidden})

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if not change:
            # Only this request holds the secret: a session could be read later.
            request.issued_key = issue(obj)  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Renders the key, without a redirect: a redirect would need to keep the key in a cookie or
        a session until the next page."""
        text = request.issued_key  # type: ignore[attr-defined]
        messages.success(request, f"The API key “{obj.name}” was created.")
        context = {
            **self.admin_site.each_context(request),
            "title": "Copy this key now",
            "opts": self.opts,
            "original": obj,
            "key": text,
        }
        return TemplateResponse(request, "carillon/admin/key.html", context)

    @admin.action(description="Revoke the selected API keys, for good", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        unrevoked = [key for key in queryset if key.state is not KeyState.REVOKED]
        for key in unrevoked:
            key.revoke()
            self.log_change(request, key, "Revoked.")
        messages.success(request, f"Revoked: {', '.join(map(str, unrevoked)) or 'none'}.")
