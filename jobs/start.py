"""Entry point of the console script: what is heavy is imported where Ctrl-C is already answered."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]
_STOPPED = (130, 143)
"""Exit codes after SIGINT and SIGTERM."""


def main() -> None:
    """Run the command."""
    signal.signal(signal.SIGINT, _interrupted)
    from .cli import main as run

    signal.signal(signal.SIGINT, between_imports(signal.default_int_handler))
    try:
        run()
    except SystemExit as ended:
        if isinstance(ended.code, int):
            leave(ended.code)
        raise


def between_imports(handler: Callable[[int, FrameType | None], object]) -> _Handler:
    """Return a signal handler that calls `handler`, once no module is being imported.

    A compiled module that meets an exception while it sets itself up may abort the process, with
    words of its own; one of Python's is left half made, which nobody expects who handles the
    exception.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if _importing(frame):
            again = threading.Timer(0.02, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
        else:
            handler(number, frame)

    return handle


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def leave(code: int) -> None:
    """End a process whose command is over; return where only the interpreter can.

    Once torch is loaded, Python takes half a second to take itself apart, object by object, and a
    thread in the middle of that import may abort it.
    What others rely on is done here as well: exit handlers are called and streams are flushed.
    Threads that go on are waited for by the interpreter, but for one that only imports ahead, and
    not in a process that was stopped: a second Ctrl-C may have ended the waiting for one, which
    would then abort the interpreter.
    """
    import atexit

    from finsent_batch.optional_imports import IMPORTING

    others = [t for t in threading.enumerate() if t is not threading.main_thread()]
    busy = not all(thread.daemon or thread.name == IMPORTING for thread in others)
    if (busy and code not in _STOPPED) or _watched():
        return
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):
        return  # the interpreter tries once more, and ends with its own message and code
    os._exit(code)


def _watched() -> bool:
    """Return whether a profiler or debugger waits for the program's end in this process."""
    if sys.gettrace() or sys.getprofile() or sys.flags.inspect:
        return True
    monitoring = getattr(sys, "monitoring", None)  # since Python 3.12
    return monitoring is not None and any(monitoring.get_tool(i) for i in range(6))


def _interrupted(number: int, frame: object) -> None:
    """End at once: nothing was begun that would have to be ended."""
    os.write(2, b"finsent-batch: error: interrupted\n")
    os._exit(130)
