"""The image's HEALTHCHECK: fails unless the server in this container answers."""

import os
from urllib.request import ProxyHandler, build_opener

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "localhost"}  # noqa: S104
"""Where a host that is every address is asked. `::` may lack one of the two families."""


def url() -> str:
    host = (os.environ.get("HOST") or "127.0.0.1").strip("[]")
    host = EVERY_ADDRESS.get(host, host)
    port = os.environ.get("PORT") or "8000"
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"http://{authority}/health/live"


if __name__ == "__main__":
    build_opener(ProxyHandler({})).open(url(), timeout=2).close()
