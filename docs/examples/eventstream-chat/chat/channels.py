"""The channel manager: it decides which users may read which channels."""

from django_eventstream.channelmanager import DefaultChannelManager


class ChannelManager(DefaultChannelManager):
    def can_read_channel(self, user, channel):
        """Everybody may read rooms. Active users who logged in may read private channels too."""
        return not channel.startswith("_") or (user is not None and user.is_active)

    def is_channel_reliable(self, channel):
        """Typing notices are not stored, because they are of no use later."""
        return not channel.startswith("typing-")
