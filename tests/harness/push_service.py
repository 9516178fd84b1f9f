"""A push service on loopback: it checks each signature, and its devices decrypt each message.

RFC 8030 (the protocol), 8188 and 8291 (the encryption), 8292 (who sends it).
"""

import json
import re
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, override
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CURVE = ec.SECP256R1()
MAX_CONTENT_BYTES = 4_096
URGENCIES = ("very-low", "low", "normal", "high")
TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")


def base64url(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)


class PushedDevice:
    """A browser that is subscribed. `answers` are those of its next messages, in place of 201."""

    def __init__(self, origin: str) -> None:
        self.id = uuid4().hex
        self.endpoint = f"{origin}/push/{self.id}"
        self.answers: list[int] = []
        self.retry_after = ""
        """What those answers ask for, but for 201."""
        self.messages: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self._key = ec.generate_private_key(CURVE)
        self._auth = uuid4().bytes

    @property
    def subscription(self) -> dict[str, Any]:
        """As `PushSubscription.toJSON()` writes it."""
        keys = {"p256dh": base64url(_point(self._key.public_key())), "auth": base64url(self._auth)}
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": keys}

    @property
    def shown(self) -> list[str]:
        """The texts of what it was sent and does not have to close."""
        texts: dict[str, str] = {}
        for message in self.messages:
            for tag in message.get("close", ()):
                texts.pop(tag, None)
            if notification := message.get("notification"):
                texts[notification["tag"]] = notification["body"]
        return list(texts.values())

    def take(self, content: bytes, headers: Mapping[str, str]) -> None:
        self.messages.append(json.loads(self._decrypted(content)))
        self.headers.append(headers)

    def _decrypted(self, content: bytes) -> bytes:
        """RFC 8291 §3.4, of one record (RFC 8188 §2)."""
        salt, size, length = content[:16], int.from_bytes(content[16:20]), content[20]
        sender, cipher = content[21 : 21 + length], content[21 + length :]
        assert len(cipher) <= size
        shared = self._key.exchange(
            ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, sender)
        )
        info = b"WebPush: info\0" + _point(self._key.public_key()) + sender
        secret = _derived(shared, self._auth, info, 32)
        key = _derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
        nonce = _derived(secret, salt, b"Content-Encoding: nonce\0", 12)
        padded = AESGCM(key).decrypt(nonce, cipher, None)
        text, delimiter, rest = padded.rpartition(b"\2")
        assert delimiter
        assert not rest.strip(b"\0")
        return text


class PushService:
    """`faults` says what was wrong with the requests."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.faults: list[str] = []
        self.contacts: set[str] = set()
        self._devices: dict[str, PushedDevice] = {}

    def device(self) -> PushedDevice:
        device = PushedDevice(self.origin)
        self._devices[device.id] = device
        return device

    def _device(self, path: str) -> PushedDevice | None:
        return self._devices.get(path.removeprefix("/push/"))

    def retry_after(self, path: str) -> str:
        device = self._device(path)
        return device.retry_after if device else ""

    def take(self, path: str, headers: Mapping[str, str], content: bytes) -> int:
        """The status for a message."""
        device = self._device(path)
        if device is None:
            return 404
        try:
            self._check(headers, content)
            if device.answers and (status := device.answers.pop(0)) != 201:
                return status
            device.take(content, headers)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self.faults.append(repr(error))
            return 400
        return 201

    def _check(self, headers: Mapping[str, str], content: bytes) -> None:
        match = re.fullmatch(r"vapid t=(\S+), k=(\S+)", headers["Authorization"])
        assert match, headers["Authorization"]
        point = from_base64url(match[2])
        key = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, point)
        claims = jwt.decode(match[1], key, ["ES256"], audience=self.origin)
        assert claims["exp"] <= time.time() + 24 * 3600  # RFC 8292 §2
        self.contacts.add(claims["sub"])
        assert headers["Content-Encoding"] == "aes128gcm"
        assert int(headers["TTL"]) >= 0
        assert headers.get("Urgency", "normal") in URGENCIES
        assert TOPIC.fullmatch(headers.get("Topic", "none"))
        assert len(content) <= MAX_CONTENT_BYTES


class _Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = PushService(f"http://127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        service = self.server.service
        headers = dict(self.headers.items())
        if len({name.lower() for name in headers}) != len(self.headers):
            service.faults.append(f"a header occurs twice: {self.headers.items()}")
        status = service.take(self.path, headers, content)
        self.send_response(status)
        if status != HTTPStatus.CREATED and (asked := service.retry_after(self.path)):
            self.send_header("Retry-After", asked)
        self.send_header("Content-Length", "0")
        self.end_headers()

    @override
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def push_service() -> Iterator[PushService]:
    """It fails afterwards if any request was wrong."""
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, name="push service", args=[0.05])
        thread.start()
        try:
            yield server.service
        finally:
            server.shutdown()
            thread.join()
    assert server.service.faults == []
