"""How the console script ends: at once, with everything done that a normal end does for others."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from finsent_batch.jobs.start import between_imports

from finsent_batch.version import __version__

VERSION = f"finsent-batch, version {__version__}\n"
TOLD_AT_THE_END = "held = type('Held', (), {'__del__': lambda _: print('freed')})()"


def ended(code, arguments=("--version",), stdout=subprocess.PIPE):
    script = (
        "import atexit, sys, threading; from finsent_batch.jobs.start import main; "
        f"sys.argv = {['finsent-batch', *arguments]!r}; {code}; main()"
    )
    command = [sys.executable, "-c", script]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


def test_exit_handlers_run_and_the_interpreter_is_not_taken_apart():
    done = ended(f"{TOLD_AT_THE_END}; atexit.register(print, 'handler')")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{VERSION}handler\n", "")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "after = lambda: (threading.main_thread().join(), print('thread')); "
            "threading.Thread(target=after).start()",
            "thread\n",
        ),
        ("import cProfile; p = cProfile.Profile(); p.enable()", ""),
    ],
    ids=["a thread that goes on", "a profiler"],
)
def test_what_needs_a_normal_end_gets_it(code, said):
    done = ended(f"{TOLD_AT_THE_END}; {code}")
    assert (done.returncode, done.stdout) == (0, f"{VERSION}{said}freed\n")


def test_a_stopped_process_does_not_wait_for_its_threads():
    done = ended(
        "import time, finsent_batch.jobs.cli as c; c.main = lambda: sys.exit(143); "
        "atexit.register(print, 'handler'); "
        "threading.Thread(target=time.sleep, args=(3600,)).start()"
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "handler\n", "")


def test_nothing_waits_for_what_is_imported_ahead():
    done = ended(
        "import time; from finsent_batch.optional_imports import IMPORTING; "
        "threading.Thread(target=time.sleep, args=(3600,), name=IMPORTING).start()"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, VERSION, "")


def test_a_failure_keeps_its_code():
    done = ended(
        "atexit.register(print, 'handler')", ["query", "--sql", "SELECT 1", "--from", "no"]
    )
    assert (done.returncode, done.stdout) == (66, "handler\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_flushed_is_told():
    with Path("/dev/full").open("w") as full:
        done = ended("atexit.register(print, 'handler')", stdout=full)
    assert done.returncode != 0
    assert "No space left on device" in done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux does")
def test_numpy_is_imported_without_threads_that_others_keep():
    script = (
        "import os; from finsent_batch.optional_imports import numpy_without_threads; "
        "numpy_without_threads(); import numpy; "
        "print(len(os.listdir('/proc/self/task')), os.environ.get('OPENBLAS_NUM_THREADS'))"
    )
    command, unset = [sys.executable, "-c", script], dict(os.environ)
    unset.pop("OPENBLAS_NUM_THREADS", None)
    assert (
        subprocess.run(command, env=unset, capture_output=True, text=True, check=True).stdout
        == "1 None\n"
    )


def test_ctrl_c_waits_for_the_end_of_an_import(tmp_path, monkeypatch):
    """A compiled module that meets it while it sets itself up may abort the process."""
    (tmp_path / "takes_a_while.py").write_text(
        "import os, signal, time\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(0.1)\n"
        "whole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def import_and_go_on():
        importlib.import_module("takes_a_while")
        time.sleep(60)

    kept = signal.signal(signal.SIGINT, between_imports(signal.default_int_handler))
    try:
        with pytest.raises(KeyboardInterrupt):
            import_and_go_on()
    finally:
        signal.signal(signal.SIGINT, kept)
    assert sys.modules.pop("takes_a_while").whole
