from knox.models import AbstractAuthToken


class OwnToken(AbstractAuthToken):  # type: ignore[misc]
    pass
