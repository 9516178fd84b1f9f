"""The access rules of the site."""

from notifications.access import Rules, group, linked, own, permission, public

RULES = Rules(
    subscribe=[
        public("demo."),
        own("user.{id}"),
        group("editors", "editors"),
        linked("*"),
    ],
    publish=[permission("carillon.publish_event", "*")],
)
