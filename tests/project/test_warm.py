"""A program that the warm interpreter forks behaves as under a fresh one."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.harness.manage import carillon_process
from tests.harness.servers import listening
from tests.harness.warm import ROOT, WarmProcess, python_process

DEADLINE_SECONDS = 60.0
REPORT = """
import atexit, json, os, signal, sys, time
atexit.register(print, "ended")
print(json.dumps({
    "arguments": sys.argv,
    "path": sys.path[:2],
    "variables": {name: value for name, value in os.environ.items() if name[:3] != "LC_"},
    "folder": os.getcwd(),
    "main": sys.modules["__main__"].__dict__ is globals(),
    "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "hour": time.localtime(0).tm_hour,
    "descriptors": sorted(os.listdir("/proc/self/fd"))[:-1],
    "buffered": [sys.stdout.write_through, sys.stdout.line_buffering, sys.stderr.line_buffering],
    "encoding": [sys.stdout.encoding, sys.stdout.errors, sys.stderr.errors],
    "ours": sys.orig_argv[1:],
}))
"""


def ran(*arguments: str, fresh: bool, **options: Any) -> tuple[int, str, str]:
    environment = {**os.environ, **options.pop("variables", {})}
    with python_process(
        *arguments,
        env=environment,
        fresh=fresh,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        assert isinstance(process, WarmProcess) is not fresh
        output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, output, errors


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("how", ["-c", "-m", "script"])
def test_it_sees_what_a_fresh_interpreter_sees(how: str, unbuffered: str, tmp_path: Path) -> None:
    script = tmp_path / "report.py"
    script.write_text(REPORT)
    arguments = {
        "-c": ["-c", REPORT, "more"],
        "-m": ["-m", "site"],
        "script": [str(script), "more"],
    }[how]
    with listening() as listener:
        given = {
            "variables": {
                "PYTHONUNBUFFERED": unbuffered,
                "PYTHONPATH": str(ROOT),
                "TZ": "Asia/Tokyo",
            },
            "pass_fds": [listener.fileno()],
        }
        warm, fresh = (ran(*arguments, fresh=fresh, **given) for fresh in (False, True))
    assert warm == fresh
    assert warm[0] == 0, warm


GARBAGE = """
class One:
    def __del__(self):
        print("freed")

one = One()
one.itself = one
del one
"""
PROGRAMS = {
    "end": "",
    "status": "import sys; sys.exit(7)",
    "large status": "import sys; sys.exit(259)",
    "message": "import sys; sys.exit('No.')",
    "error": "1 / 0",
    "interrupt": "raise KeyboardInterrupt",
    "signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "thread": "import threading; threading.Timer(0.01, print, ['later']).start()",
    "unwritten": "print('kept', end='')",
    "unwritable": "import os; print('lost'); os.close(1)",
    "garbage": GARBAGE,
    "failing callback": "import atexit; atexit.register(int, 'no number')",
    "closed output": "import sys; sys.stdout.close()",
    "no output": "import sys; sys.stdout = None",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_ends_as_a_fresh_interpreter_does(name: str) -> None:
    warm, fresh = (ran("-c", PROGRAMS[name], fresh=fresh) for fresh in (False, True))
    assert warm[:2] == fresh[:2]
    assert warm[2].splitlines()[-1:] == fresh[2].splitlines()[-1:]


def test_its_warnings_are_errors_where_they_are_to_be() -> None:
    code = "import sys, warnings; print(sys.warnoptions, flush=True); warnings.warn('old')"
    warm, fresh = (ran("-W", "error", "-c", code, fresh=fresh) for fresh in (False, True))
    assert warm[:2] == fresh[:2]
    assert warm[0] == 1


def test_variables_do_not_pass_from_one_start_to_the_next() -> None:
    code = "import os; print(os.environ.pop('ONLY_HERE', None), os.environ.get('DATA_DIR'))"
    assert ran("-c", code, fresh=False, variables={"ONLY_HERE": "1"})[1].startswith("1 ")
    assert ran("-c", code, fresh=False)[1].startswith("None ")


def test_signals_reach_it() -> None:
    with python_process(
        "-c",
        "print(end='up', flush=True); input()",
        env=dict(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"up"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGCONT)
        process.kill()
        assert process.wait(DEADLINE_SECONDS) == -signal.SIGKILL
    assert not psutil.pid_exists(process.pid)


@pytest.mark.parametrize("name", ["OTEL_PYTHON_CONTEXT", "PYTHONDEVMODE", "PYTHONPATH"])
def test_a_variable_that_is_read_before_the_fork_needs_a_fresh_interpreter(name: str) -> None:
    variables = {**os.environ, name: "/nowhere"}
    with python_process("--version", env=variables, stdout=subprocess.DEVNULL) as process:
        assert not isinstance(process, WarmProcess)


def test_workers_of_a_server_are_forked_too_and_end_with_it(development: dict[str, str]) -> None:
    with carillon_process("serve", "--workers", "2", environment=development) as serve:
        for _ in range(2):
            serve.wait_for("(window.loaded)")
        workers = serve.workers()
        assert len(workers) == 2
        for worker in workers:
            assert worker.cmdline() == psutil.Process(serve.popen.pid).cmdline()
            assert os.getpgid(worker.pid) == worker.pid
        serve.end(signal.SIGKILL)
        assert not psutil.wait_procs(workers, DEADLINE_SECONDS)[1]
