"""`/inbox/preferences`: what a person has chosen, as JSON or by a form.

`/inbox/preferences/page/` is the page with that form. It works without a script.
"""

from datetime import time
from typing import Annotated, Any

from asgiref.sync import sync_to_async
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext_lazy
from pydantic import ConfigDict, Field, StrictBool, StringConstraints

from notifications.access.identities.base import Identity
from notifications.conf.namespace import enter
from notifications.errors import BadRequest, Invalid
from notifications.inbox.channels import Channel, Digest
from notifications.inbox.preferences.person import Changes, change_preferences, read_preferences
from notifications.inbox.preferences.times import zone_names, zone_of
from notifications.inbox.push import devices
from notifications.views.bodies import FORM_TYPES
from notifications.views.inbox_page import page_of_person
from notifications.views.inbox_requests import (
    Parameters,
    answer,
    database,
    identity_of_person,
    json_object,
    parsed,
    user_of,
)
from notifications.views.problems import check_method, problem_responses
from notifications.views.security_headers import protect

SAVED = "saved"
FIRST_QUIET_HOURS = {"from": "22:00", "until": "07:00"}
"""What the page proposes to whoever has none."""
CHANNEL_TITLES = {
    Channel.IN_APP: gettext_lazy("In the inbox"),
    Channel.EMAIL: gettext_lazy("E-mail"),
    Channel.PUSH: gettext_lazy("Push"),
}
DIGEST_TITLES = {
    Digest.OFF: gettext_lazy("One for each notification"),
    Digest.DAILY: gettext_lazy("One a day"),
    Digest.WEEKLY: gettext_lazy("One a week"),
}

TimeOfDay = Annotated[
    str,
    StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$"),
    Field(description="hours and minutes, such as 22:00"),
]


class Quiet(Parameters):
    """The hours of a day in which a person is not disturbed."""

    model_config = ConfigDict(populate_by_name=True)

    begins: TimeOfDay = Field(alias="from")
    until: TimeOfDay


class Wanted(Parameters):
    """What a person changes. Whatever is left out stays as it is."""

    categories: dict[str, dict[Channel, StrictBool]] = {}
    time_zone: Annotated[str, Field(max_length=64)] = ""
    quiet: Quiet | None = None
    digest: Digest = Digest.OFF
    digest_at: TimeOfDay = "08:00"
    digest_weekday: Annotated[int, Field(ge=1, le=7)] = 1

    def changes(self) -> Changes:
        columns: dict[str, Any] = self.model_dump(
            include=self.model_fields_set & {"time_zone", "digest", "digest_weekday"}
        )
        if "digest_at" in self.model_fields_set:
            columns["digest_at"] = time.fromisoformat(self.digest_at)
        if "quiet" in self.model_fields_set:
            begins, until = (self.quiet.begins, self.quiet.until) if self.quiet else (None, None)
            columns["quiet_from"] = begins and time.fromisoformat(begins)
            columns["quiet_until"] = until and time.fromisoformat(until)
        channels = {
            (category, channel): on
            for category, chosen in self.categories.items()
            for channel, on in chosen.items()
        }
        return Changes(channels, columns)


def wanted_schemas() -> dict[str, Any]:
    """The JSON Schema of `Wanted`, and those that it refers to, by their names."""
    wanted = Wanted.model_json_schema(ref_template="#/components/schemas/{model}")
    return {**wanted.pop("$defs"), "WantedPreferences": wanted}


@problem_responses
async def preferences(request: HttpRequest) -> HttpResponseBase:
    """What the person has chosen. A POST changes it before, and a form then leads to the page."""
    check_method(request, "GET", "HEAD", "POST", detail="Preferences are read by a GET.")
    identity = await identity_of_person(request)
    if request.method == "POST":
        is_form = request.content_type in FORM_TYPES
        wanted = parsed(Wanted, _form(request) if is_form else _json(request))
        await sync_to_async(_change)(identity, wanted.changes())
        if is_form:
            page = reverse("carillon:preferences-page")
            return HttpResponseRedirect(f"{page}?{SAVED}", status=303)
    return answer(await sync_to_async(_read)(identity))


def _read(identity: Identity) -> dict[str, Any]:
    with database(), enter(identity.namespace):
        return read_preferences(user_of(identity))


def _change(identity: Identity, changes: Changes) -> None:
    with database(), enter(identity.namespace):
        try:
            change_preferences(user_of(identity), changes)
        except Invalid as error:
            raise BadRequest(error.detail) from None


def _json(request: HttpRequest) -> dict[str, Any]:
    return json_object(request, example='{"categories": {"orders": {"email": false}}}')


def _form(request: HttpRequest) -> dict[str, Any]:
    """The fields of the page. What is not ticked is not sent, so each box is also in `shown`."""
    sent, ticked = request.POST, set(request.POST.getlist("on"))
    categories: dict[str, dict[str, bool]] = {}
    for box in sent.getlist("shown"):
        channel, _, category = box.partition(":")
        categories.setdefault(category, {})[channel] = box in ticked
    names = ("time_zone", "digest", "digest_at", "digest_weekday")
    wanted: dict[str, Any] = {name: sent[name] for name in names if name in sent}
    if "quiet_from" in sent:
        hours = {"from": sent["quiet_from"], "until": sent.get("quiet_until", "")}
        wanted["quiet"] = hours if "quiet" in sent else None
    return {"categories": categories, **wanted}


# The page


@page_of_person(
    otherwise="The page is read by a GET.", away="The preferences cannot be reached now: try again."
)
def preferences_page(request: HttpRequest, user: AbstractBaseUser) -> HttpResponseBase:
    """The form with everything that the person may choose."""
    context = _context(request, read_preferences(user), devices.count(user))
    return protect(render(request, "carillon/preferences.html", context))


def _context(request: HttpRequest, known: dict[str, Any], count: int) -> dict[str, Any]:
    used = [
        channel
        for channel in Channel
        if any(str(channel) in category["channels"] for category in known["categories"])
    ]
    return {
        "rows": [
            (category["title"], [_box(category, channel) for channel in used])
            for category in known["categories"]
        ],
        "channels": [CHANNEL_TITLES[channel] for channel in used],
        "is_elsewhere": len(used) > 1,
        "has_email": Channel.EMAIL in used,
        "quiet": known["quiet"] or FIRST_QUIET_HOURS,
        "is_quiet": known["quiet"] is not None,
        "zones": zone_names(),
        "default_zone": str(zone_of("")),
        "digests": list(DIGEST_TITLES.items()),
        "weekdays": [(number + 1, name) for number, name in WEEKDAYS.items()],
        "preferences": known,
        "is_saved": SAVED in request.GET,
        "devices": count,
    }


def _box(category: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """One box of the table; the empty dict where the category has no such channel."""
    state = category["channels"].get(str(channel))
    if state is None:
        return {}
    return {"value": f"{channel}:{category['name']}", "title": CHANNEL_TITLES[channel], **state}
