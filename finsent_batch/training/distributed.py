"""The processes of a distributed training, as torchrun and accelerate launch start them."""

import os
from dataclasses import dataclass
from typing import Self

import torch

from ..errors import UsageError
from ..hardware import available_cores


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
        return cls(**{name: int(value) for name, value in found.items()})

    @classmethod
    def join(cls) -> Self:
        """Return this process's ranks, and wait until all processes have started.

        Raises:
            UsageError: as `from_environment`.
        """
        ranks = cls.from_environment()
        if ranks.world > 1:
            from accelerate import PartialState

            PartialState(cpu=not torch.cuda.is_available())  # takes the GPU of its number
        return ranks

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
