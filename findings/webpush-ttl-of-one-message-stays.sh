#!/usr/bin/env bash
# webpush 1.0.6: the TTL of one message is that of all later ones, and 0 cannot be asked for again.
#
# Expected: get(…, ttl=60) is about that message, as its description says; WebPush(ttl=…) is "global".
# Seen: the object remembers the value for all messages that follow, whoever they are for. ttl=0, "only
# if the device can be reached now", is taken for no value. The headers always have a "ttl", so a
# header "TTL" beside it is a second one, which HTTP forbids for a field of one value (RFC 9110 §5.3).
# We: take only the encryption and its header from the library, and write the TTL ourselves.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  webpush==1.0.6 cryptography==46.0.3 email-validator==2.3.0 ||
  { echo 'The packages cannot be installed.'; exit 2; }
cat >"$work/seen.py" <<'PY'
from base64 import urlsafe_b64encode
from io import BytesIO

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from webpush import WebPush, WebPushSubscription
from webpush.vapid import VAPID

private, public, _ = VAPID.generate_keys()
point = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
    Encoding.X962, PublicFormat.UncompressedPoint
)
encoded = lambda content: urlsafe_b64encode(content).decode().rstrip("=")
subscription = WebPushSubscription.model_validate(
    {
        "endpoint": "https://push.example/1",
        "keys": {"p256dh": encoded(point), "auth": encoded(bytes(16))},
    }
)
push = WebPush(BytesIO(private), BytesIO(public), subscriber="admin@shop.example", ttl=0)
asked = ({}, {"ttl": 60}, {}, {"ttl": 0})
print(*(push.get("x", subscription, **each).headers["ttl"] for each in asked))
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "webpush 1.0.6, TTL of four messages that ask for nothing, 60, nothing and 0: $seen"
[ "$seen" = '0 60 60 60' ] || { echo 'This has changed.'; exit 1; }
