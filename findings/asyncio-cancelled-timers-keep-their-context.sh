#!/usr/bin/env bash
# Python 3.13's asyncio: a timer that was cancelled keeps its context until it would have been due.
#
# Expected: a block of asyncio.timeout(30) that ends in time leaves nothing: its timer is cancelled, and
# TimerHandle.cancel() drops the callback and its arguments.
# Seen: while any other timer is due before it, the handle stays in the loop's heap, and with it the
# context in which it was made and every value of a context variable. uvloop 0.22.1 frees both at once.
# We: set a timer for the head of a stream only where there is something to wait for, since the context
# of a request has the request (notifications/asgi/handoff.py).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(for each in python3.13 "$HOME"/.pyenv/versions/3.13*/bin/python; do
  "$each" -c 'print()' >/dev/null 2>&1 && { command -v "$each"; break; }
done)
[ -n "$python" ] || { echo 'This needs Python 3.13.'; exit 2; }
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.22.1 ||
  { echo 'The packages cannot be installed.'; exit 2; }
cat >"$work/seen.py" <<'PY'
import asyncio
import contextvars
import gc
import weakref

import uvloop

variable = contextvars.ContextVar("variable")


class Value:
    pass


async def bounded():
    value = Value()
    variable.set(value)
    async with asyncio.timeout(30):
        await asyncio.sleep(0)
    return weakref.ref(value)


async def kept():
    loop = asyncio.get_running_loop()
    earlier = loop.call_later(20, print)
    reference = await loop.create_task(bounded())
    await asyncio.sleep(0.05)
    gc.collect()
    earlier.cancel()
    return "kept" if reference() is not None else "freed"


print("asyncio: {}, uvloop: {}".format(asyncio.run(kept()), uvloop.run(kept())))
PY
seen=$("$work/venv/bin/python" "$work/seen.py")
echo "Python $("$python" -c 'import platform; print(platform.python_version())'): $seen"
[ "$seen" = 'asyncio: kept, uvloop: freed' ] ||
  { echo 'This has changed.'; exit 1; }
