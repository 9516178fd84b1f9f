"""A site whose page shows the orders of a database, and follows them by `carillon.js`.

`/shop/?topic=…` is the page, `/shop/state` the snapshot. A POST to `/shop/write?key=…` writes a new
version of an order, and its event, in one transaction. Each page records what it got in `seen`.
`/shop/readme` is the page of the README.
"""

import json
import re
from pathlib import Path

from django.contrib.auth import get_user_model, login
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template import Context, RequestContext, Template
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt

from notifications import cursor, publish_outbox

README = Path(__file__).parents[2] / "README.md"
TOPIC = "demo.shop"
PAGE = Template(
    """{% load carillon static %}<!doctype html><title>Shop</title>
<script type="module">
  import { carillon, ResumingEventSource } from "{% static 'carillon/carillon.js' %}";
  const query = new URLSearchParams(location.search);
  const address = "{% events_url %}";
  const live = carillon(address, { topics: query.getAll("topic"), silence: 10_000 });
  const orders = {};
  Object.assign(window, { carillon, address, live, orders, ResumingEventSource });
  Object.assign(window, { seen: [], statuses: [] });
  live.snapshot("/shop/state", (state) => {
    for (const { key, version } of state.orders) orders[key] = version;
  }, { first: !query.has("rendered") });
  live.on("*", (event) => seen.push(event.data));
  live.on("order", ({ data }) => (orders[data.key] = data.version));
  live.on("stream.status", ({ data }) => statuses.push(`${data.status} ${data.reason}`.trim()));
</script>{% for order in orders %}
<p data-carillon-key="{{ order.key }}" data-carillon-version="{{ order.version }}"></p>{% endfor %}
"""
)
TABLE = "CREATE TABLE IF NOT EXISTS shop_orders (key TEXT PRIMARY KEY, version INTEGER)"


def orders() -> list[dict[str, object]]:
    with connection.cursor() as database:
        database.execute(TABLE)
        database.execute("SELECT key, version FROM shop_orders")
        return [{"key": key, "version": version} for key, version in database.fetchall()]


def page(request: HttpRequest) -> HttpResponse:
    context: Context = RequestContext(request, {"orders": orders()})
    return HttpResponse(PAGE.render(context))


def readme(request: HttpRequest) -> HttpResponse:
    blocks = re.findall(r"```html\n(.*?)```", README.read_text(), re.DOTALL)
    [code] = [block for block in blocks if "carillon.js" in block]
    return HttpResponse(Template(code).render(RequestContext(request)))


def state(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"cursor": cursor(request), "orders": orders()})


@csrf_exempt
def write(request: HttpRequest) -> HttpResponse:
    keys = request.GET.getlist("key")
    with transaction.atomic(), connection.cursor() as database:
        database.execute(TABLE)
        for key in keys:
            database.execute(
                "INSERT INTO shop_orders VALUES (%s, 1) "
                "ON CONFLICT (key) DO UPDATE SET version = version + 1",
                [key],
            )
            database.execute("SELECT version FROM shop_orders WHERE key = %s", [key])
            [version] = database.fetchone()
            publish_outbox(TOPIC, {"key": key, "version": version}, type="order")
    return HttpResponse(json.dumps(keys))


@csrf_exempt
def enter(request: HttpRequest, name: str) -> HttpResponse:
    """Log in without a password."""
    user, _ = get_user_model().objects.get_or_create(username=name)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponse(f"user.{user.pk}")


urlpatterns = [
    path("shop/", page),
    path("shop/readme", readme),
    path("shop/state", state),
    path("shop/write", write),
    path("shop/enter/<name>", enter),
    path("", include("config.urls")),
]
