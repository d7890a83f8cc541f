"""Limits of the system that a test runs into on purpose."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limited_files(kilobytes: int) -> Iterator[None]:
    """Let no file grow beyond a size: a full disk, where none can be mounted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
