#!/usr/bin/env bash
# webpush 1.0.6: the VAPID token names the push service without its port.
#
# Expected: "aud" is the origin of the push service (RFC 8292 §2), so https://push.example:8443 for an
# address there; a push service on a port of its own compares with that.
# Seen: "aud" is made of the scheme and the host alone.
# We: have the library encrypt, and sign the token ourselves by PyJWT (notifications/inbox/push).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check webpush==1.0.6 pyjwt==2.10.1 ||
  { echo 'The packages cannot be installed.'; exit 2; }
cat >"$work/seen.py" <<'PY'
import jwt
from pydantic import AnyHttpUrl
from webpush.vapid import VAPID

private, public, _ = VAPID.generate_keys()
header = VAPID(private, public).get_authorization_header(
    AnyHttpUrl("https://push.example:8443/1"), "admin@shop.example", 60
)
token = header.removeprefix("vapid t=").partition(",")[0]
print(jwt.decode(token, options={"verify_signature": False})["aud"])
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "webpush 1.0.6: $seen"
[ "$seen" = 'https://push.example' ] || { echo 'This has changed.'; exit 1; }
