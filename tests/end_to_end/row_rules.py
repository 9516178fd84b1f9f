"""The access rules of the site in test_rows."""

from notifications.access import Rules, group, object_permission, own, permission, public

RULES = Rules(
    subscribe=[
        public("demo."),
        own("user.{id}"),
        group("editors", "editors"),
        permission("auth.view_group", "permitted"),
        object_permission("auth.view_permission", "right.{pk}"),
    ],
)
