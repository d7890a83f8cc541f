"""The command as a process of its own, forked from one that has imported everything.

A process like any other for who starts it: a `subprocess.Popen` with its own id, files, threads
and signals, and a child of this process. What it does not repeat is the start of Python and the
imports; tests of those, and of what an environment or a limit does to them, start the real one.
"""

import atexit
import ctypes
import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import fork_server

COMMAND = Path(sys.executable).parent / "finsent-batch"
READ_LATE = ("FINSENT_", "RANK", "LOCAL_", "WORLD_SIZE", "MASTER_")
"""How the names of variables begin that nothing looks at when it is imported."""
PROGRAM = "from finsent_batch.jobs.start import main; main()"
_PR_SET_CHILD_SUBREAPER = 36


_servers: list[socket.socket] = []


def begin() -> None:
    """Fork the process that forks commands, which ends when this one does.

    Called before any test runs: what is forked has imported modules, and done nothing else.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.collect()
    gc.freeze()  # neither process looks through the libraries' objects again, nor copies them
    child = os.fork()
    if child == 0:
        try:
            fork_server.leave_the_tests(theirs.fileno())
            fork_server.serve(theirs)
        finally:
            os._exit(0)
    theirs.close()
    _servers.append(ours)

    def end() -> None:
        ours.close()
        os.waitpid(child, 0)

    atexit.register(end)


def _fork(request: Mapping[str, object], streams: list[int]) -> int:
    """Return the id of a new child of this process that is the command."""
    server, prctl = _servers[-1], ctypes.CDLL(None).prctl
    # The child's parent ends at once, and the child becomes ours.
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        socket.send_fds(server, [json.dumps(request).encode()], streams)
        told = server.recv(100)
        assert told, "the process that forks has ended"
        return int(told)
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


class Popen(subprocess.Popen[Any]):
    """`subprocess.Popen` of `COMMAND` or `python -c`; it may set variables of `READ_LATE`."""

    def _execute_child(  # type: ignore[override]
        self, args: list[object], executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any,
        cwd: Any, env: Any, startupinfo: Any, creationflags: Any, shell: Any,
        p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int,
        *_: Any,
    ) -> None:  # fmt: skip
        command, environment = [str(a) for a in args], {**(os.environ if env is None else env)}
        changed = {k for k, _ in environment.items() ^ os.environ.items()}
        program = PROGRAM
        if command[0] != str(COMMAND):
            assert command[:2] == [sys.executable, "-c"], command
            program, command = command[2], command[2:]
        assert preexec_fn is None, "start the real process"
        assert all(k.startswith(READ_LATE) for k in changed), changed
        streams = [n if n != -1 else i for i, n in enumerate((p2cread, c2pwrite, errwrite))]
        folder = str(Path(cwd or ".").absolute())
        request = {"program": program, "arguments": command, "folder": folder}
        self.pid = _fork(request | {"environment": environment}, streams)
        self._child_created = True
        devnull = getattr(self, "_devnull", None)
        ends = ((p2cread, p2cwrite), (c2pwrite, c2pread), (errwrite, errread))
        for number in {n for n, ours in ends if -1 not in (n, ours)} | {devnull} - {None}:
            os.close(number)
        self._closed_child_pipe_fds = True


def run(command: list[object], **options: Any) -> subprocess.CompletedProcess[Any]:
    """Like `subprocess.run` with captured output and without `check`."""
    given = options.pop("input", None)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if given is not None:
        streams["stdin"] = subprocess.PIPE
    with Popen(command, **streams | options) as process:
        out, err = process.communicate(given)
    return subprocess.CompletedProcess(command, process.returncode, out, err)
