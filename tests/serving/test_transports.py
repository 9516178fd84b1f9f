"""What `carillon serve` puts around a server's connections leaves streams their direct way out."""

import httpx
import pytest

from tests.harness.manage import DEADLINE, served


@pytest.mark.parametrize(
    ("server", "transport"),
    [("daphne", "DaphneTransport True"), ("uvicorn", "DirectUvicornTransport")],
)
def test_bytes_go_past_send(server: str, transport: str, project: dict[str, str]) -> None:
    given = {**project, "DJANGO_SETTINGS_MODULE": "tests.harness.transport_settings"}
    with served("serve", "--server", server, environment=given) as serve:
        answer = httpx.get(f"http://127.0.0.1:{serve.port}/stream?count=1", timeout=DEADLINE)
        assert answer.text.startswith(transport)
        assert serve.end() == 0
