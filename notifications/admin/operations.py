"""The operator's page: what all processes report, with a kick and an event for a test."""

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from notifications.access.decision import PUBLISH_PERMISSION
from notifications.conf import get_settings
from notifications.conf import namespace as namespaces
from notifications.errors import CarillonError, Unavailable
from notifications.hub.questions import Answers, ask
from notifications.hub.reports import AGE_SECONDS, MAX_NAMES, subject_of
from notifications.models import LiveStream
from notifications.publishing.control import kick
from notifications.publishing.outbox.table import Backlog, backlog
from notifications.publishing.publisher import publish
from notifications.telemetry import audit
from notifications.telemetry.logs import logger

if TYPE_CHECKING:
    LiveStreamAdminBase = admin.ModelAdmin[LiveStream]
else:  # it is generic only in the type stubs
    LiveStreamAdminBase = admin.ModelAdmin

VIEW, CHANGE = "carillon.view_livestream", "carillon.change_livestream"
UNITS = (("days", 86_400), ("h", 3_600), ("min", 60))
LEAST_SPAN_SECONDS = 60
"""Over less, a rate says nothing."""
AGES = (*(f"under {age}" for age in ("a minute", "ten minutes", "an hour", "a day")), "older")


@admin.register(LiveStream)
class LiveStreamAdmin(LiveStreamAdminBase):
    """Its list is the operator's page: streams have no table."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page (GET), or what one of its forms asks for (POST)."""
        if not self.has_view_permission(request) or namespaces.current():
            # Reports name the topics and users of all tenants.
            raise PermissionDenied
        if request.method == "POST":
            return self._act(request)
        user, topic = request.GET.get("user", "").strip(), request.GET.get("topic", "").strip()
        pk = _primary_key(user) if user else ""
        if user and not pk:
            messages.warning(request, f"There is no user {user}.")
        subject = subject_of(topic=topic, user=pk)
        context = {
            **self.admin_site.each_context(request),
            "title": "Live streams",
            "opts": self.opts,
            "may_end": request.user.has_perm(CHANGE),
            "may_publish": request.user.has_perm(PUBLISH_PERMISSION),
            "asked": {"user": user, "topic": topic, "pk": pk, "subject": subject},
            "outboxes": _outboxes(),
            **_answered(request, subject),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "carillon/admin/live.html", context)

    def _act(self, request: HttpRequest) -> HttpResponse:
        fields = request.POST
        try:
            if "publish" in fields:
                self._publish(request, fields["topic"], fields["data"])
            elif "user" in fields or "topic" in fields:
                self._end(request, user=fields.get("user", ""), topic=fields.get("topic", ""))
        except CarillonError as error:
            messages.error(request, error.detail)
        asked = {name: fields[name] for name in ("user", "topic") if fields.get(name)}
        url = reverse(f"{self.admin_site.name}:carillon_livestream_changelist")
        return HttpResponseRedirect(f"{url}?{urlencode(asked)}")

    def _publish(self, request: HttpRequest, topic: str, data: str) -> None:
        if not request.user.has_perm(PUBLISH_PERMISSION):
            raise PermissionDenied
        try:
            value = json.loads(data)
        except ValueError:
            value = data
        receipt = publish(topic, value)
        messages.success(request, f"Published to {topic}, as {receipt.id}.")

    def _end(self, request: HttpRequest, *, user: str, topic: str) -> None:
        if not request.user.has_perm(CHANGE):
            raise PermissionDenied
        subject = subject_of(topic=topic, user=user)
        audit.logger.info("operator.kicked", by=f"user:{request.user.pk}", subject=subject)
        if topic:
            kick(topic=topic)
        else:
            kick(user=user)
        messages.success(request, f"The streams of {topic or f'user {user}'} end now.")


def _primary_key(user: str) -> str:
    """Of the user with this name or primary key; an empty text if there is none."""
    model = get_user_model()
    users = model._default_manager  # noqa: SLF001 - documented
    for lookup in (model.USERNAME_FIELD, "pk"):
        try:
            if found := users.filter(**{lookup: user}).first():
                return str(found.pk)
        except (TypeError, ValueError, ValidationError):
            continue
    return ""


def _answered(request: HttpRequest, subject: str) -> dict[str, Any]:
    """What the processes answer, for the template."""
    try:
        answers = ask(subject)
    except Unavailable as error:
        messages.error(request, error.detail)
        answers = Answers([], [])
    reports = answers.reports
    found = [_stream(stream, report) for report in reports for stream in report["found"]]
    windows = sorted((report["window"] for report in reports), key=lambda each: each["head"])
    return {
        "processes": [_process(report) for report in (*reports, *answers.silent)],
        "silent": {report["process"] for report in answers.silent},
        "streams": sum(report["streams"] for report in reports),
        "slow": sum(report["slow"] for report in reports),
        "ages": list(zip(AGES, _ages(reports), strict=True)),
        "topics": _largest(report["topics"] for report in reports),
        "users": _named(_largest(report["users"] for report in reports)),
        "found": sorted(found, key=lambda stream: stream["opened"], reverse=True),
        "window": _window(windows[-1]) if windows else None,
    }


def _process(report: Mapping[str, Any]) -> dict[str, Any]:
    return {**report, "at": _ago(report["at"]), "started": _ago(report["started"])}


def _stream(stream: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    ended = stream["ended"]
    until = time.time() if ended is None else ended
    return {
        **stream,
        "process": report["process"],
        "open_for": _duration(until - stream["opened"]),
        "ended": ended and _ago(ended),
    }


def _window(window: Mapping[str, Any]) -> dict[str, Any]:
    span = window["span"]
    per_minute = round(window["events"] / span * 60, 1) if span >= LEAST_SPAN_SECONDS else None
    return {
        **window,
        "span": _duration(span),
        "per_minute": per_minute,
    }


def _ages(reports: Iterable[Mapping[str, Any]]) -> list[int]:
    columns = [report["ages"] for report in reports] or [[0] * (len(AGE_SECONDS) + 1)]
    return [sum(column) for column in zip(*columns, strict=True)]


def _largest(lists: Iterable[Iterable[tuple[str, int]]]) -> list[tuple[str, int]]:
    """The largest of all processes; each names only its own largest, so a sum may be too low."""
    total = Counter[str]()
    for names in lists:
        total.update(dict(names))
    return total.most_common(MAX_NAMES)


def _named(subjects: Iterable[tuple[str, int]]) -> list[dict[str, Any]]:
    """Subjects of users, with the names that a person knows."""
    counts = {subject.partition(":")[2]: count for subject, count in subjects}
    manager = get_user_model()._default_manager  # noqa: SLF001 - documented
    keys = []
    for text in counts:
        with suppress(ValidationError):
            keys.append(manager.model._meta.pk.to_python(text))  # noqa: SLF001 - documented
    users = {str(pk): user for pk, user in manager.in_bulk(keys).items()}
    return [
        {"pk": pk, "name": str(users.get(pk, pk)), "streams": count} for pk, count in counts.items()
    ]


def _outboxes() -> list[dict[str, Any]]:
    settings = get_settings()
    if not settings.uses_outbox:
        return []
    return [{"name": name, "backlog": _backlog(name)} for name in settings.OUTBOX_DATABASES]


def _backlog(using: str) -> Backlog | None:
    try:
        return backlog(using)
    except DatabaseError:
        logger.exception("outbox.unreadable", database=using)
        return None


def _ago(moment: float) -> str:
    return _duration(time.time() - moment)


def _duration(seconds: float) -> str:
    """In the largest unit of which there are two: "90 s", "3 min", "26 h", "4 days"."""
    for unit, size in UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
