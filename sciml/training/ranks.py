"""The processes of one run, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor


@contextmanager
def launched(device: str = "cpu") -> Iterator[torch.device]:
    """The device of this process, with the processes of a `torchrun` joined for as long as the block lasts.

    Started plainly, it gives `device` back and does nothing else, so a script serves both ways:

        with launched("cuda") as device:                      # python run.py, or torchrun --nproc-per-node 4 run.py
            train = stream("darcy/train", batch_size=8, device=device)

    Under `torchrun`, `cuda` becomes the GPU of the local rank and the processes talk by NCCL, on CPUs by Gloo.

    Raises:
        ValueError: more processes on this machine than GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield torch.device(device)
        return
    chosen = torch.device(device)
    if chosen.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise ValueError(f"torchrun: got process {local} on a machine of {torch.cuda.device_count()} GPUs; start fewer")
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield chosen
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run; every method but `first` is called by all of them together."""

    rank: int
    size: int

    @classmethod
    def now(cls) -> Ranks:
        """This process as `launched` joined it; one alone where nothing was joined.

        Raises:
            ValueError: started by `torchrun`, but nobody joined the processes.
        """
        if dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(
                f"fit: torchrun started {os.environ['WORLD_SIZE']} processes that are not joined; "
                "put `with launched(device) as device:` around the streams and fit"
            )
        return cls(0, 1)

    @property
    def first(self) -> bool:
        """The one that writes."""
        return self.rank == 0

    def mean(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Over the processes; not finite where it is not in any of them."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it is set in one of the processes."""
        if self.size == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=device)))

    def gather(self, thing: object) -> list[object]:
        """One from each process, in their order."""
        things: list[object] = [thing] * self.size
        if self.size > 1:
            dist.all_gather_object(things, thing)
        return things

    def wait(self) -> None:
        """For all of them."""
        if self.size > 1:
            dist.barrier()


__all__ = ["Ranks", "launched"]
