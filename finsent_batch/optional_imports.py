"""Optional libraries, loaded so that they stay quiet and off the network."""

import contextlib
import gc
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Final

from .errors import UnavailableError

_ABSENT = object()


def load_bitsandbytes() -> Any:
    """Import bitsandbytes, which transformers and peft also use, and return it.

    On a CPU with AVX512-BF16 its import asks the Hub for a kernel if the package
    `kernels` is installed, and warns if it is not; neither belongs in a nightly job.

    Raises:
        UnavailableError: it is not installed.
    """
    before = sys.modules.get("kernels", _ABSENT)
    sys.modules["kernels"] = None  # type: ignore[assignment]
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        import bitsandbytes
    except ImportError as error:
        raise UnavailableError(
            f"4-bit weights need bitsandbytes ({error}): pip install 'finsent-batch[llm]'"
        ) from None
    finally:
        if before is _ABSENT:
            del sys.modules["kernels"]
        else:
            sys.modules["kernels"] = before  # type: ignore[assignment]
    return bitsandbytes


def load_deltalake() -> Any:
    """Import deltalake, with what is used of it, and return it.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        import deltalake
        import deltalake.exceptions
    except ImportError as error:
        raise UnavailableError(
            f"Delta tables need deltalake ({error}): pip install 'finsent-batch[delta]'"
        ) from None
    return deltalake


def load_boto3() -> Any:
    """Import boto3, with what is used of it, and return it.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        import boto3.exceptions
        import boto3.session
        import botocore.config
        import botocore.exceptions  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            f"outputs in buckets need boto3 ({error}): pip install 'finsent-batch[buckets]'"
        ) from None
    return boto3


def load_obstore() -> Any:
    """Import obstore, with what is used of it, and return it.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise UnavailableError(
            f"outputs in gs:// and abfs:// need obstore ({error}): "
            "pip install 'finsent-batch[buckets]'"
        ) from None
    return obstore


def quiet_bitsandbytes() -> None:
    """Load bitsandbytes, if it is here, before another library does."""
    with contextlib.suppress(UnavailableError):  # not here: nothing to keep quiet
        load_bitsandbytes()


def numpy_without_threads() -> None:
    """Import NumPy without the threads of its OpenBLAS, one a core, for a process of our own.

    Nothing that `score` computes uses them, and starting them takes a third of that import.
    """
    name = "OPENBLAS_NUM_THREADS"
    if name in os.environ or "numpy" in sys.modules:
        return
    os.environ[name] = "1"
    try:
        import numpy  # noqa: F401
    finally:
        del os.environ[name]  # programs that we start have their own threads


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Import large libraries within the block without looking for garbage meanwhile.

    Each makes hundreds of thousands of objects that stay; looking through them again and again
    is a tenth of the time that importing torch takes.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


IMPORTING: Final = "import"
"""The name of a thread that imports ahead; nothing has to wait for it."""
_SWITCHING = threading.Lock()
_beside: list[float] = []
"""For each block of `imports_beside` that goes on, the switch interval when it began."""


@contextlib.contextmanager
def imports_beside() -> Iterator[None]:
    """Import large libraries within the block, beside threads that get Python's lock at once.

    As a rule a thread waits 5 ms for the lock, each time that it has let it go: for each piece of a
    file that it hashes, say. An import that takes seconds would stretch a hundredth of one to as
    much.
    """
    with _SWITCHING:
        usual = _beside[0] if _beside else sys.getswitchinterval()
        _beside.append(usual)
        sys.setswitchinterval(usual / 50)
    try:
        with quick_imports():
            yield
    finally:
        with _SWITCHING:
            usual = _beside.pop()
            if not _beside:
                sys.setswitchinterval(usual)


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Let a model be loaded without reports and warnings of libraries, within the block.

    What is wrong with a model comes as an error; the rest of what transformers, peft and torch
    say is for those who train.
    """
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
