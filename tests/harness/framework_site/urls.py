from django.urls import include, path
from knox.views import LogoutAllView, LogoutView
from rest_framework.permissions import IsAdminUser
from rest_framework.routers import SimpleRouter

from config.urls import urlpatterns as project
from tests.harness.framework_site import async_views, token_views, views

router = SimpleRouter()
router.register("rooms", views.Rooms, basename="rooms")

urlpatterns = [
    *project,
    path("drf/orders/<int:pk>/", views.Orders.as_view()),
    path("drf/staff/<int:pk>/", views.Staff.as_view()),
    path("drf/rules/<int:pk>/", views.ByRules.as_view()),
    path("drf/open/<int:pk>/", views.Open.as_view()),
    path("drf/short/<int:pk>/", views.Short.as_view()),
    path("drf/throttled/<int:pk>/", views.Throttled.as_view()),
    path("drf/as-view/<int:pk>/", views.Open.as_view(permission_classes=[IsAdminUser])),
    path("drf/members/<int:pk>/", views.Members.as_view()),
    path("drf/function/", views.function_view),
    path("drf/", include(router.urls)),
    path("knox/<int:pk>/", token_views.ByKnox.as_view()),
    path("knox/logout/", LogoutView.as_view()),
    path("knox/logout-all/", LogoutAllView.as_view()),
    path("jwt/<int:pk>/", token_views.ByJWT.as_view()),
    path("jwt/stateless/<int:pk>/", token_views.Stateless.as_view()),
    path("adrf/<int:pk>/", async_views.Orders.as_view()),
    path("adrf/async-classes/<int:pk>/", async_views.AsyncClasses.as_view()),
    path("adrf/function/", async_views.function_view),
    path("adrf/set/<int:pk>/", async_views.Rooms.as_view({"get": "events"})),
    path("drf/plain/", views.Plain.as_view()),
    path("drf/data/", views.Data.as_view()),
    path("ninja/", views.api.urls),
]
