#!/usr/bin/env bash
# CPython 3.11.7, 3.12.1 and 3.13.0: a process that has loaded Django 5.2.8 takes 80 to 110 ms of CPU to
# end, and hardly less after gc.disable(). After gc.freeze() it takes 23.
#
# Expected: a program whose last line has run ends at once, at least with gc.disable(): the system takes
# the memory back.
# Seen: the end of the interpreter collects garbage several times, whether the collector is disabled or
# not, and looks at all 52,000 objects each time: 96, 77 and 105 ms with the three versions, and 76, 56
# and 89 with gc.disable(). gc.freeze() takes what exists out of the collector's sight: 23, 22 and 24 ms.
# We: freeze in processes that serve, which also spares each collection (management/carillon/launch.py),
# and in those that tests start (tests/harness/warm_interpreter.py).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-python3}
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check django==5.2.8 djangorestframework==3.16.1
cat >"$work/ends.py" <<'PYTHON'
import os, statistics, subprocess, sys

SITE = """
import gc
import os
from django.conf import settings
names = ("contenttypes", "auth", "sessions", "messages", "admin", "staticfiles")
settings.configure(INSTALLED_APPS=[*(f"django.contrib.{name}" for name in names), "rest_framework"])
import django
django.setup()
import rest_framework.serializers
import rest_framework.views
LAST_LINE
times = os.times()
print(times.user + times.system, flush=True)
"""


def end_of(last_line):
    """The CPU in seconds between the last line and the end of the process, a median of nine."""
    taken = []
    for _ in range(9):
        process = subprocess.Popen(
            [sys.executable, "-c", SITE.replace("LAST_LINE", last_line)], stdout=subprocess.PIPE, text=True
        )
        before = float(process.stdout.read())
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, process.returncode
        taken.append(used.ru_utime + used.ru_stime - before)
    return statistics.median(taken)


print("Python", sys.version.split()[0])
plain, disabled, frozen = (end_of(line) for line in ("pass", "gc.disable()", "gc.freeze()"))
print(f"plain {plain * 1000:.0f} ms, gc.disable() {disabled * 1000:.0f} ms, gc.freeze() {frozen * 1000:.0f} ms")
assert plain > 2 * frozen, "the end of a process does not collect any more"
assert disabled > 2 * frozen, "gc.disable() concerns the end of a process now"
print("as described")
PYTHON
"$work/venv/bin/python" "$work/ends.py"
