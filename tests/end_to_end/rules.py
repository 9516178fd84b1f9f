"""The access rules of the site in test_ending."""

from notifications.access import Rules, group, own, permission, public

RULES = Rules(
    subscribe=[
        public("demo."),
        own("user.{id}"),
        group("editors", "editors"),
        permission("auth.view_group", "permitted"),
    ],
    publish=[permission("carillon.publish_event", "*")],
)
