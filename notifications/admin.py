"""API keys in Django's admin: made, shown once, changed in what they allow, and revoked."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from notifications.access.identities.api_keys import issue
from notifications.models import ApiKey, KeyState

if TYPE_CHECKING:
    KeyForm = forms.ModelForm[ApiKey]
    KeyAdmin = admin.ModelAdmin[ApiKey]
else:  # which are generic in their stubs alone
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
        help_text="A pattern on each line: <code>news</code> is news and what is beneath it, "
        "<code>orders.*.paid</code> has any one segment at the star, <code>*</code> is all.",
    )
    publish = PatternsField(label="May publish to", required=False, help_text="Likewise.")


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
        """A key that was revoked stays as it was, for whoever asks what it was allowed."""
        revoked = obj is not None and obj.state is KeyState.REVOKED
        return (*self.fields, *self.readonly_fields) if revoked else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Whoever may delete keys may delete those that have ended: others are revoked first."""
        living = obj is not None and obj.state is KeyState.ACTIVE
        return not living and super().has_delete_permission(request, obj)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # After "Save" comes the key, whatever else was to come.
        plain = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **plain})

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if not change:
            # In this request alone: nothing that could be read later, such as a session, has it.
            request.issued_key = issue(obj)  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Not a redirect: the message with the key would be kept, in a cookie or a session, until
        the next page."""
        text = request.issued_key  # type: ignore[attr-defined]
        messages.success(request, f"The API key “{obj.name}” was made.")
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
        living = [key for key in queryset if key.state is not KeyState.REVOKED]
        for key in living:
            key.revoke()
            self.log_change(request, key, "Revoked.")
        messages.success(request, f"Revoked: {', '.join(map(str, living)) or 'none that lived'}.")
