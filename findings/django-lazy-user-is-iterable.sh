#!/usr/bin/env bash
# Django 6.1.3: request.user, and every other SimpleLazyObject, is an instance of Iterable.
#
# Expected: isinstance(lazy, Iterable) says of a lazy object what it says of the object, as
# isinstance(lazy, User) does, which looks at __class__.
# Seen: the class of lazy objects defines __iter__, so the answer is always yes, also for a user, who
# is not iterable: iter() raises then. A function that takes one user or many cannot ask that way.
# We: notify(request.user, …) asks whether it is a model first (notifications/inbox/notify.py).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(for each in python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[23]*/bin/python; do
  "$each" -c 'print()' >/dev/null 2>&1 && { command -v "$each"; break; }
done)
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check django==6.1.3 ||
  { echo 'The packages cannot be installed.'; exit 2; }
cat >"$work/seen.py" <<'PY'
from collections.abc import Iterable, Mapping, Sized

from django.utils.functional import SimpleLazyObject


class User:
    pass


user, lazy = User(), SimpleLazyObject(User)
print("a User:", isinstance(user, User), isinstance(lazy, User))
for kind in (Iterable, Sized, Mapping):
    print(f"{kind.__name__}:", isinstance(user, kind), isinstance(lazy, kind))
try:
    iter(lazy)
except TypeError as error:
    print("iter():", error)
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "$seen"
[ "$seen" = "a User: True True
Iterable: False True
Sized: False True
Mapping: False False
iter(): 'User' object is not iterable" ] || { echo 'It has changed.'; exit 1; }
