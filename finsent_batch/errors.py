"""Expected failures: each carries its exit code and one line that says what to do.

Library code raises these; the command line prints the message and exits with
`exit_code`. Anything else that escapes is a bug and keeps its traceback.
Codes follow sysexits.h where it has one.
"""

import errno
from typing import Any

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Error numbers of a write that the disk, a quota or a limit did not let through."""


OPEN_FILES = (errno.EMFILE, errno.ENFILE)
"""Error numbers of too many open files, of the process or of the system."""


class FinsentError(Exception):
    """Base of every expected failure. `str(error)` is one line: what is wrong, what to do."""

    exit_code = 1
    summary: Any = None
    """The summary of the run that it ended, once there was one."""


class UsageError(FinsentError):
    """The command line asks for something that cannot be meant."""

    exit_code = 2


class ParameterError(UsageError):
    """A query's parameter is missing, unknown or of the wrong type; `header` says what it takes."""

    def __init__(self, message: str, *, header: str) -> None:
        super().__init__(message)
        self.header = header


class GateFailedError(FinsentError):
    """The work is done, but a `--gate` does not hold; `result` is that work.

    `evaluate` and `report` have written it; `score` keeps the scores and publishes nothing.
    """

    exit_code = 3

    def __init__(self, message: str, *, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class BadDataError(FinsentError):
    """The input is there but cannot be used: missing column, corrupt file, undecodable text."""

    exit_code = 65


class MissingInputError(FinsentError):
    """An input file, table or model does not exist."""

    exit_code = 66


class UnavailableError(FinsentError):
    """A device or library that was asked for is not on this machine."""

    exit_code = 69


class CannotCreateError(FinsentError):
    """An output cannot be created, or exists and may not be replaced."""

    exit_code = 73


class StorageError(FinsentError):
    """Reading or writing failed half way, such as on a full disk."""

    exit_code = 74


class NoRoomError(StorageError):
    """The disk has too little room for what is to be written; nothing was."""


class TryAgainError(FinsentError):
    """Something is locked or changed meanwhile; the same command will work later."""

    exit_code = 75


class ConfigError(FinsentError):
    """A configuration file, store or adapter does not fit this version or its base."""

    exit_code = 78


class InterruptedRunError(FinsentError):
    """The run was asked to stop; what it had scored is committed."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def first_line(error: BaseException) -> str:
    """Return an error's message as one line of at most 300 characters."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
