"""A fork of the warm interpreter becomes a program, as if Python had just started it."""

import atexit
import gc
import io
import os
import runpy
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any


def become(start: dict[str, Any]) -> None:
    """Set what an interpreter takes from its environment when it starts."""
    os.environ.clear()
    os.environ.update(start["environment"])
    time.tzset()
    os.chdir(start["folder"])
    if start["new_session"]:
        os.setsid()
    if start["process_group"] >= 0:
        os.setpgid(0, start["process_group"])
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    path = os.environ.get("PYTHONPATH")
    sys.path[1:2] = path.split(os.pathsep) if path else []  # instead of ours
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number, getattr(sys, name), unbuffered=unbuffered and number > 0)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _stream(number: int, like: Any, *, unbuffered: bool) -> io.TextIOWrapper:
    raw = open(number, "wb" if number else "rb", 0 if unbuffered else -1, closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(
        raw,
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=not unbuffered and (number == 2 or raw.isatty()),
        write_through=unbuffered,
    )


def run(arguments: list[str]) -> None:
    """Run them as `python ARGUMENTS` does."""
    sys.orig_argv = [sys.executable, *arguments]
    match arguments:
        case ["-W", action, *rest]:
            sys.warnoptions.append(action)
            warnings.simplefilter(action)  # type: ignore[arg-type] # one of the filter's words
            run(rest)
        case ["-m", module, *_]:
            sys.argv, sys.path[0] = arguments[1:], str(Path.cwd())
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *rest]:
            sys.argv, sys.path[0] = ["-c", *rest], ""
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(compile(code, "<string>", "exec"), vars(main))
        case [script, *_]:
            sys.argv, sys.path[0] = arguments, str(Path(script).resolve().parent)
            runpy.run_path(script, run_name="__main__")


def run_to_the_end(arguments: list[str]) -> None:
    """Run them and end the process, whose memory is left to the kernel.

    An interpreter frees its objects when it ends. In a fork this would copy most of the memory that
    is shared, which takes as long as a start. What else an end consists of happens here, and the
    fork's own garbage is freed, such as a task that nobody awaited and that says so.
    """
    try:
        run(arguments)
        status = 0
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise  # the interpreter prints it
        status = end.code or 0
    threading._shutdown()  # type: ignore[attr-defined] # waits for the threads
    atexit._run_exitfuncs()
    gc.collect()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        sys.exit(status)  # the interpreter says what is wrong
    os._exit(status)
