"""Bodies of requests: within a limit, and in memory where no file can be written."""

import errno
import json
from pathlib import Path

import pytest
from pytest_django import Settings as DjangoSettings

from notifications.asgi.bodies import RefusedBody, is_small, last_answer
from notifications.asgi.handler import CarillonASGIHandler
from notifications.errors import NoRoom, TooLarge
from notifications.transport.base import Message

KIB = 1024
LIMIT = 64 * KIB


@pytest.fixture(autouse=True)
def limit(settings: DjangoSettings) -> None:
    settings.CARILLON = {**settings.CARILLON, "MAX_REQUEST_BYTES": LIMIT}
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = KIB


async def read(*pieces: bytes) -> bytes | RefusedBody:
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, start=1)
    ]

    async def receive() -> Message:
        return messages.pop(0)

    with await CarillonASGIHandler().read_body(receive) as file:
        return file if isinstance(file, RefusedBody) else file.read()


@pytest.mark.parametrize("has_folder", [True, False])
async def test_a_body_up_to_the_limit_is_read_and_no_more(
    has_folder: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not has_folder:
        for name in ("TMPDIR", "TEMP", "TMP"):
            monkeypatch.setenv(name, str(tmp_path / "missing"))
        monkeypatch.setattr("tempfile.tempdir", None)
        monkeypatch.setattr("tempfile._candidate_tempdir_list", list)
    assert await read(b"a" * KIB, b"b" * (LIMIT - KIB)) == b"a" * KIB + b"b" * (LIMIT - KIB)
    refused = await read(b"a" * KIB, b"b" * LIMIT)
    assert isinstance(refused, RefusedBody)
    assert refused.error.status == 413
    assert str(LIMIT) in refused.error.detail


async def test_a_full_disk_is_507_and_a_line_of_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    refused = await read(b"a" * 2 * KIB, b"b")
    assert isinstance(refused, RefusedBody)
    assert (refused.error.status, refused.error.code) == (507, "no-room")
    assert "body.not_stored" in caplog.text


def test_a_small_body_is_below_both_limits() -> None:
    assert is_small(b"a" * KIB)
    assert not is_small(b"a" * (KIB + 1))


@pytest.mark.parametrize("error", [TooLarge("less"), NoRoom("full")])
def test_the_last_answer_is_a_problem_and_closes_the_connection(
    error: TooLarge | NoRoom,
) -> None:
    head, _, body = last_answer(error).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {error.status} ".encode())
    assert b"Connection: close" in head
    assert f"Content-Length: {len(body)}".encode() in head
    problem = json.loads(body)
    assert (problem["status"], problem["detail"]) == (error.status, error.detail)
