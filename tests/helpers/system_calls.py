"""Have system calls of this process fail from now on, by a seccomp filter."""

import ctypes
import platform

FDATASYNC, PREAD64, PWRITE64 = 75, 17, 18
"""Their numbers on x86-64."""
AVAILABLE = platform.system() == "Linux" and platform.machine() == "x86_64"
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def fail(number: int, error: int) -> None:
    """Let each call of this number fail with this error, in this thread and those it starts.

    It cannot be undone: for processes of a test's own.
    """
    program = (_Instruction * 4)(
        _Instruction(0x20, 0, 0, 0),  # load the number
        _Instruction(0x15, 0, 1, number),  # not this one: skip a line
        _Instruction(0x06, 0, 0, _ERRNO | error),
        _Instruction(0x06, 0, 0, _ALLOW),
    )
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _FILTER, ctypes.byref(_Program(4, program)), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "no seccomp here")
