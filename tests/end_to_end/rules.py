"""The access rules of the sites in test_ending and test_replicas."""

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db.models import QuerySet

from notifications.access import Access, Answer, Rules, group, own, permission, public
from notifications.access.identities.base import User

RULES = Rules(
    subscribe=[
        public("demo."),
        own("user.{id}"),
        group("editors", "editors"),
        permission("auth.view_group", "permitted"),
    ],
    publish=[permission("carillon.publish_event", "*")],
)


class OwnQueries(Access):
    """A class of an application, which asks the database by itself."""

    async def can_subscribe(self, user: User, topic: str) -> Answer:
        if topic == "async":
            return await _editors(user).aexists()
        if topic == "thread":
            return await sync_to_async(_editors(user).exists)()
        return await RULES.can_subscribe(user, topic)

    async def can_publish(self, user: User, topic: str) -> Answer:
        return await RULES.can_publish(user, topic)


def _editors(user: User) -> QuerySet[Group]:
    return Group.objects.filter(name="editors", user=user.pk)
