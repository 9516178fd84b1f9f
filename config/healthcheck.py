"""Whether the server of this container answers: the image's HEALTHCHECK."""

import os
from urllib.request import Request, urlopen

if __name__ == "__main__":
    port = os.environ.get("PORT") or "8000"
    # A host that is refused would look like a server that is down.
    host = (os.environ.get("ALLOWED_HOSTS") or "localhost").split(",")[0].strip().lstrip(".")
    request = Request(f"http://127.0.0.1:{port}/health/live", headers={"Host": host})
    urlopen(request, timeout=2).close()  # noqa: S310
