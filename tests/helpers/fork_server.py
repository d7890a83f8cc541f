"""A process that has imported everything and forks one child for each command it is sent.

Importing torch and transformers takes seconds of CPU, more than most commands take after it.
Forked by `forks.py` from the process of the tests, once that has collected them and before it
runs any: they have imported most of what commands import. A request is a line of JSON with its
three standard streams beside it.
"""

import atexit
import faulthandler
import gc
import importlib
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from typing import TextIO

MODULES = (
    "duckdb", "polars", "pyarrow.parquet", "pyarrow.csv", "sklearn.model_selection", "peft",
    "finsent_batch.jobs.cli", "finsent_batch.failpoints", "finsent_batch.pipeline.score",
    "finsent_batch.scorers.encoder.scorer", "finsent_batch.scorers.causal.scorer",
    "finsent_batch.training.encoder", "finsent_batch.training.merge",
    "finsent_batch.reports.run_report", "finsent_batch.evaluation.evaluate",
    "finsent_batch.evaluation.promote", "finsent_batch.store.compact",
    "finsent_batch.store.export",
)  # fmt: skip
TRAINING = ("trl", "bitsandbytes")


def leave_the_tests(channel: int) -> None:
    """Put back what pytest has set up in the process that this one is forked from."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.closerange(3, channel)
    os.closerange(channel + 1, 1 << 16)
    faulthandler.disable()  # it would write to one of the files just closed
    logging.getLogger().handlers.clear()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def serve(channel: socket.socket) -> None:
    """Fork a child for each request until the other side closes; answer with its process id."""
    ready = False
    while True:
        text, streams, _, _ = socket.recv_fds(channel, 1 << 20, 3)
        if not text:
            return
        if not ready:
            for name in MODULES:
                importlib.import_module(name)
            gc.freeze()  # a collection in a child would copy every page
            ready = True
        request = json.loads(text)
        if "train" in request["arguments"]:
            import_where_there(TRAINING)
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            child = os.fork()
            if child == 0:
                channel.close()
                os.close(reading)
                os.close(writing)
                be(request, streams)
            os.write(writing, str(child).encode())
            os._exit(0)
        # The child's parent has ended before its id is told: it is the asker's by then.
        os.waitpid(between, 0)
        for number in (writing, *streams):
            os.close(number)
        channel.send(os.read(reading, 100))
        os.close(reading)


def import_where_there(modules: tuple[str, ...]) -> None:
    for name in modules:
        if name not in sys.modules and importlib.util.find_spec(name):
            importlib.import_module(name)


def logs_to(stream: TextIO) -> None:
    """Let what libraries log go there: they were imported while pytest held the standard ones."""
    for logger in logging.Logger.manager.loggerDict.values():
        for handler in getattr(logger, "handlers", ()):
            if type(handler) is logging.StreamHandler:
                handler.stream = stream  # setStream would flush the other, which is closed


def be(request: dict, streams: list[int]) -> None:
    """Be the command that was asked for, to its end."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        for stream in streams:
            if stream > 2:
                os.close(stream)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv[:] = request["arguments"]
        if sys.argv[0] == "-c":
            sys.path.insert(0, "")
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
        logs_to(sys.stderr)
        from finsent_batch import failpoints

        asked = os.environ.get(failpoints.VARIABLE, "")
        failpoints.armed[:] = [failpoints.Failpoint(text) for text in asked.split(",") if text]
        exec(request["program"], {"__name__": "__main__"})
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 - as Python shows it at the end of a process
        traceback.print_exc()
    finally:
        # Not the whole of Python's end, which takes half a second to free what was imported.
        threading._shutdown()
        atexit._run_exitfuncs()
        try:
            sys.stdout.flush()
        except OSError:
            code = 120
        os._exit(code)
