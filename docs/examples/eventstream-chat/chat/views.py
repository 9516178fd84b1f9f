from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST
from django_eventstream import get_current_event_id, send_event


def room(request, room):
    last_id = get_current_event_id([f"room-{room}"])
    return render(request, "chat/room.html", {"room": room, "last_id": last_id})


@require_POST
def say(request, room):
    send_event(f"room-{room}", "message", {"text": request.POST["text"]})
    return HttpResponse(status=204)
