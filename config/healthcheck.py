"""The image's HEALTHCHECK: fails unless the server in this container answers."""

import os
from urllib.request import Request, urlopen

if __name__ == "__main__":
    port = os.environ.get("PORT") or "8000"
    # Django refuses a request for a host that is not allowed, which would look like a dead server.
    host = (os.environ.get("ALLOWED_HOSTS") or "localhost").split(",")[0].strip().lstrip(".")
    request = Request(f"http://127.0.0.1:{port}/health/live", headers={"Host": host})
    urlopen(request, timeout=2).close()  # noqa: S310
