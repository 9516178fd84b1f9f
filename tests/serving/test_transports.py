"""The limits that `carillon serve` puts on connections leave streams their own sockets."""

import httpx
import pytest

from tests.harness.manage import DEADLINE_SECONDS, carillon_process


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
def test_the_sockets_of_streams_leave_the_server(server: str, project: dict[str, str]) -> None:
    environment = {**project, "DJANGO_SETTINGS_MODULE": "tests.harness.transport_settings"}
    with carillon_process("serve", "--server", server, environment=environment) as serve:
        response = httpx.get(
            f"http://127.0.0.1:{serve.port}/stream?count=1", timeout=DEADLINE_SECONDS
        )
        assert response.text.startswith("SocketTransport\n")
        assert serve.end() == 0
