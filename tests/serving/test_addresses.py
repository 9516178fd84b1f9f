"""`HOST`: every address of both families, one of them, or a name; and the image's health check."""

import socket
import subprocess
import sys

import httpx
import pytest

from tests.harness.manage import DEADLINE_SECONDS, carillon_process
from tests.harness.servers import ROOT

V4, V6 = "127.0.0.1", "::1"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind((V6, 0))
    except OSError:
        return False
    return True


def answers(address: str, port: int) -> bool:
    host = f"[{address}]" if ":" in address else address
    try:
        answer = httpx.get(f"http://{host}:{port}/health/live", timeout=DEADLINE_SECONDS)
    except httpx.TransportError:  # another program may have that port at the other address
        return False
    return answer.json()["status"] == "live" if answer.is_success else False


@pytest.mark.parametrize(
    ("host", "server", "addresses"),
    [
        ("::", "daphne", {V4, V6}),
        ("[::]", "uvicorn", {V4, V6}),
        ("0.0.0.0", "daphne", {V4}),
        ("::1", "uvicorn", {V6}),
        ("localhost", "daphne", {V4, V6}),
    ],
)
def test_it_listens_at_the_addresses_of_host_and_the_health_check_asks_one(
    host: str, server: str, addresses: set[str], project: dict[str, str]
) -> None:
    if V6 in addresses and not has_ipv6():
        pytest.skip("This machine has no IPv6.")
    if host == "localhost":
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        addresses = addresses & {str(address[0]) for *_, address in found}
    environment = {**project, "HOST": host, "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]"}
    with carillon_process("serve", "--server", server, environment=environment) as serve:
        port = serve.port
        serve.wait_for("(window.loaded)")
        assert {address for address in (V4, V6) if answers(address, port)} == addresses
        subprocess.run(
            [sys.executable, "-m", "config.healthcheck"],
            cwd=ROOT,
            env={**environment, "PORT": str(port)},
            timeout=DEADLINE_SECONDS,
            check=True,
        )
        assert serve.end() == 0
        assert "Traceback" not in serve.output
