"""The processes of a distributed training, as torchrun and accelerate launch start them."""

import os
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import torch

from ..errors import UnavailableError, UsageError, first_line
from ..hardware import available_cores

_PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others, at the start and in each step, before it gives up."""


@dataclass(frozen=True, kw_only=True)
class ProcessGroup:
    """This process among those that train together; one alone is rank 0 of 1."""

    rank: int = 0
    local: int = 0
    """Its number on this machine, which is that of its GPU."""
    world: int = 1
    local_world: int = 1

    @classmethod
    def from_environment(cls) -> Self:
        """Return this process's ranks from the environment variables of torchrun.

        Raises:
            UsageError: the variables of torchrun do not make sense.
        """
        names = {"rank": "RANK", "local": "LOCAL_RANK", "world": "WORLD_SIZE",
                 "local_world": "LOCAL_WORLD_SIZE"}  # fmt: skip
        found = {name: os.environ[key] for name, key in names.items() if key in os.environ}
        if not all(value.isdecimal() for value in found.values()):
            raise UsageError("WORLD_SIZE, RANK and LOCAL_RANK must be numbers: use torchrun")
        ranks = cls(**{name: int(value) for name, value in found.items()})
        if not (ranks.rank < ranks.world and ranks.local < ranks.local_world):
            raise UsageError(
                f"RANK {ranks.rank} is not below WORLD_SIZE {ranks.world}, or LOCAL_RANK "
                f"{ranks.local} not below LOCAL_WORLD_SIZE {ranks.local_world}: use torchrun"
            )
        return ranks

    @classmethod
    def join(cls) -> Self:
        """Return this process's ranks, and wait until all processes have started.

        Raises:
            UsageError: as `from_environment`; or there are more processes here than GPUs.
            UnavailableError: they cannot reach each other.
        """
        ranks = cls.from_environment()
        if ranks.world > 1:
            ranks._start()
        return ranks

    def _start(self) -> None:
        from accelerate import PartialState

        cuda = torch.cuda.is_available()
        if cuda and self.local_world > (gpus := torch.cuda.device_count()):
            raise UsageError(
                f"{self.local_world} processes, but {gpus} GPUs here: start one a GPU with "
                f"torchrun --nproc-per-node={gpus}"
            )
        try:
            PartialState(cpu=not cuda, timeout=_PATIENCE)  # takes the GPU of its number
        except (torch.distributed.DistError, RuntimeError, ValueError) as error:
            raise UnavailableError(
                f"the training's processes cannot start together ({first_line(error)}): check "
                "MASTER_ADDR and MASTER_PORT, or start them with torchrun"
            ) from None

    @property
    def first(self) -> bool:
        """Whether this process writes, measures and speaks for all."""
        return self.rank == 0

    @property
    def cores(self) -> int:
        """The CPU cores that this process may take."""
        return max(1, available_cores() // self.local_world)

    def device(self, kind: str) -> str:
        """Return this process's own device of a kind, `cuda` or `cpu`."""
        return f"cuda:{self.local}" if kind == "cuda" and self.world > 1 else kind

    def smallest(self, value: int | None) -> int | None:
        """Return the smallest of all processes' values, so that all decide alike."""
        if self.world == 1 or value is None:
            return value
        from accelerate.utils import gather_object

        return int(min(gather_object([value])))

    def any(self, value: bool) -> bool:
        """Return whether it is so in any process, so that all stop at the same step."""
        if self.world == 1:
            return value
        from accelerate.utils import gather_object

        return any(gather_object([value]))

    def wait(self) -> None:
        """Wait until all processes have reached this point."""
        if self.world > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def leave(self) -> None:
        """Leave the process group."""
        if self.world > 1:
            torch.distributed.destroy_process_group()


class LateAgreement:
    """Tells all processes alike, two calls later, whether any of them said yes.

    An answer at once would make each host wait for its GPU in every step, and the GPU then for
    the host. A process alone has its own answer at once.
    """

    def __init__(self, ranks: ProcessGroup) -> None:
        self._ranks = ranks
        self._asked: deque[tuple[torch.Tensor, torch.cuda.Event | None]] = deque()

    def any(self, value: bool) -> bool:
        """Say yes or no; return whether a process said yes two calls ago."""
        if self._ranks.world == 1:
            return value
        self._asked.append(self._ask(value))
        if len(self._asked) <= _CALLS_LATER:
            return False
        answer, ready = self._asked.popleft()
        if ready is not None:
            ready.synchronize()
        return bool(answer)

    def _ask(self, value: bool) -> tuple[torch.Tensor, torch.cuda.Event | None]:
        cuda = torch.cuda.is_available()
        said = torch.full((), float(value), device=self._ranks.device("cuda" if cuda else "cpu"))
        torch.distributed.all_reduce(said, torch.distributed.ReduceOp.MAX)
        if not cuda:
            return said, None
        answer, ready = torch.empty((), pin_memory=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
        answer.copy_(said, non_blocking=True)
        ready.record()
        return answer, ready


_CALLS_LATER = 2


def lost_another(error: Exception) -> bool:
    """Return whether an error says that another process of the training is gone."""
    if isinstance(error, torch.distributed.DistError):
        return True
    # A disk's error may name a file of any name.
    return isinstance(error, RuntimeError) and "gloo" in str(error)
