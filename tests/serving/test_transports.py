"""The limits that `carillon serve` puts on connections do not disable the direct transport."""

import httpx
import pytest

from tests.harness.manage import DEADLINE_SECONDS, carillon_process


@pytest.mark.parametrize(
    ("server", "transport"),
    [("daphne", "DaphneTransport True"), ("uvicorn", "DirectUvicornTransport")],
)
def test_streams_bypass_the_servers_send(
    server: str, transport: str, project: dict[str, str]
) -> None:
    environment = {**project, "DJANGO_SETTINGS_MODULE": "tests.harness.transport_settings"}
    with carillon_process("serve", "--server", server, environment=environment) as serve:
        response = httpx.get(
            f"http://127.0.0.1:{serve.port}/stream?count=1", timeout=DEADLINE_SECONDS
        )
        assert response.text.startswith(transport)
        assert serve.end() == 0
