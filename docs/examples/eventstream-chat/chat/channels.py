"""Who may read which channel, as django-eventstream asks."""

from django_eventstream.channelmanager import DefaultChannelManager


class ChannelManager(DefaultChannelManager):
    def can_read_channel(self, user, channel):
        """Everybody reads rooms; what is private is for those who logged in, and are active."""
        return not channel.startswith("_") or (user is not None and user.is_active)

    def is_channel_reliable(self, channel):
        """Whether somebody is typing is of no interest later."""
        return not channel.startswith("typing-")
