#!/usr/bin/env bash
# CPython 3.13.0: awaiting asyncio.gather() of tasks that have ended runs nothing else meanwhile.
#
# Expected: as in 3.11, and as with asyncio.wait(), whoever awaits it lets the event loop run once, so
# that callbacks of those tasks, which are due, are called.
# Seen: since 3.12 the future that gather() returns has its result already, and to await that is no
# pause. So `while tasks: await asyncio.gather(*tasks)`, with callbacks that take each task out of
# the set, never ends if it comes between a task's end and its callback (here it is stopped after a
# thousand rounds). The loop is held meanwhile: no timeout applies.
# We: await asyncio.wait() where the calls of a log are ended (notifications/log/groups.py).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(for each in python3.13 "$HOME"/.pyenv/versions/3.13*/bin/python; do
  "$each" -c 'print()' >/dev/null 2>&1 && { command -v "$each"; break; }
done)
[ -n "$python" ] || { echo 'This needs Python 3.13.'; exit 2; }
cat >"$work/seen.py" <<'PY'
import asyncio


async def rounds(wait):
    """How often the set is waited for until the callback has emptied it."""
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    tasks = {task}
    task.add_done_callback(tasks.discard)
    count = 0
    while tasks and count < 1000:
        await wait(tasks)
        count += 1
    return count


print("wait:", asyncio.run(rounds(asyncio.wait)))
print("gather:", asyncio.run(rounds(lambda tasks: asyncio.gather(*tasks))))
PY
seen=$("$python" "$work/seen.py")
"$python" --version
echo "$seen"
[ "$seen" = $'wait: 1\ngather: 1000' ] || { echo 'It has changed.'; exit 1; }
