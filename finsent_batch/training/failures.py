"""Translate a full disk, GPU memory and stop requests into expected failures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError

from ..errors import DISK_FULL, InterruptedRunError, NoRoomError, StorageError, UnavailableError
from ..io.duckdb_errors import is_disk_full
from .checkpoints import how_to_go_on
from .distributed import lost_another

# safetensors passes on the system's message, torch's archive writer says where in its code, and
# what it writes with does not say why it failed.
_NO_REASON = "iostream error"
_SIGNS_OF_WRITERS = (
    *map(os.strerror, DISK_FULL), "inline_container", "PytorchStreamWriter", _NO_REASON,
)  # fmt: skip


@contextmanager
def expected_faults(output: Path) -> Iterator[None]:
    """Translate what ends a training into one line that says how to go on; bugs pass unchanged.

    Raises:
        InterruptedRunError: a stop was asked for.
        StorageError: the disk is full, or fails.
        UnavailableError: the GPU's memory is full, or another process of the training is gone.
    """
    try:
        yield
    except InterruptedRunError as error:
        raise InterruptedRunError(
            f"stopped on request: {how_to_go_on(output)}", exit_code=error.exit_code
        ) from None
    except torch.OutOfMemoryError:
        raise UnavailableError(
            "training does not fit into the GPU's memory, or into its --memory-budget: a budget "
            "below what it took makes smaller batches; where there is one, lower --max-length or "
            f"--lora-r; {how_to_go_on(output)}"
        ) from None
    except NoRoomError:
        raise
    except (StorageError, OSError, RuntimeError, SafetensorError) as error:
        if lost_another(error):
            raise UnavailableError(
                "a process of this training ended, or was not heard of for ten minutes: what it "
                f"said itself tells why; {how_to_go_on(output)}"
            ) from None
        if not isinstance(error, StorageError) and not full_disk(error):
            raise
        reason = "the disk is full or fails" if _NO_REASON in str(error) else "the disk is full"
        raise StorageError(
            f"{reason} while {output} was written: make room; {how_to_go_on(output)}"
        ) from None


def full_disk(error: Exception) -> bool:
    """Return whether writing weights failed as it does on a full disk, quota or size limit."""
    return is_disk_full(error) or any(sign in str(error) for sign in _SIGNS_OF_WRITERS)
