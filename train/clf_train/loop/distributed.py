"""Distributed training: several processes started by torchrun, or a single one.

Each process takes its part of every batch; PyTorch's DistributedDataParallel averages the gradients, over gloo on the
CPU and NCCL on CUDA. Only the first process, rank 0, writes.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn

from clf_runtime.errors import brief
from clf_train.errors import DataError, ProcessLost, TrainError
from clf_train.loop.device import select_device


@dataclass(frozen=True)
class World:
    """One process of several: its rank, from 0, and its local rank on its machine.

    `device`, cpu or cuda, is where the tensors that they exchange are.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: str = "cpu"

    @property
    def writes(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def part_of(self, size: int) -> tuple[slice, float]:
        """The part of a batch of this process, and the weight of its mean loss in the average over the processes.

        Of a batch with fewer images than processes, those without one take the first image, with weight 0.
        """
        if self.size == 1:
            return slice(None), 1
        own = len(range(self.rank, size, self.size))
        if own == 0:
            return slice(0, 1), 0
        return slice(self.rank, None, self.size), own * self.size / size

    def sum(self, values: Sequence[float]) -> tuple[float, ...]:
        """Sum each value over all processes."""
        if self.size == 1:
            return tuple(map(float, values))
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return tuple(total.tolist())

    def broadcast(self, values: Sequence[float]) -> tuple[float, ...]:
        """These values of rank 0."""
        if self.size == 1:
            return tuple(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.broadcast(shared, 0)
        return tuple(shared.tolist())

    def broadcast_bytes(self, data: bytes) -> bytes:
        """The `data` of rank 0."""
        if self.size == 1:
            return data
        shared = torch.empty(int(self.broadcast((len(data),))[0]), dtype=torch.uint8, device=self.device)
        if len(shared) and self.writes:
            shared.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        distributed.broadcast(shared, 0)
        return shared.cpu().numpy().tobytes()

    def synchronise(self, net: nn.Module, device: torch.device) -> nn.Module:
        """The net for all processes: gradients are averaged, weights start as rank 0's.

        On CUDA batch statistics are those of the whole batch (SyncBatchNorm, which PyTorch only has there); on the CPU
        they are each process's own.
        """
        if self.size == 1:
            return net
        if device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]
        return nn.parallel.DistributedDataParallel(net, device_ids=[device] if device.type == "cuda" else None)


ALONE = World()
_PATIENCE = timedelta(hours=2)  # the others wait while rank 0 evaluates and writes


def is_launched() -> bool:
    """Whether torchrun, or a similar launcher, started this process as one of several."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def join(device: str) -> Iterator[World]:
    """Join the process group, if torchrun started several processes, and leave it when the block ends.

    `device`, cpu or cuda, is what they train on. Raises ProcessLost if they cannot be reached.
    """
    if not is_launched():
        yield ALONE
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        select_device("cuda", local_rank)
        torch.cuda.set_device(local_rank)
    with explaining_process_loss():
        distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        with explaining_process_loss():
            yield World(distributed.get_rank(), distributed.get_world_size(), local_rank, device)
    finally:
        distributed.destroy_process_group()


@contextmanager
def explaining_process_loss() -> Iterator[None]:
    """Turn PyTorch's exceptions for a lost process into ProcessLost; a lack of libuv says what to set."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, TrainError) or not is_of_the_network(error):
            raise
        if "USE_LIBUV" in str(error):  # Debian's build
            raise ProcessLost("this PyTorch was built without libuv: set USE_LIBUV=0 for torchrun") from None
        reason = brief(RuntimeError(re.sub(r"\[\S+:\d+\]|\[\S+\]:\d+", "", str(error))), 80)
        raise ProcessLost(f"another process of this training was lost ({reason.strip(' .:')})") from None


def check_same_images(world: World, fingerprint: str) -> None:
    """Raise DataError if rank 0 has images with another fingerprint."""
    if world.broadcast_bytes(fingerprint.encode()) != fingerprint.encode():
        raise DataError(f"process {world.rank} reads other images than process 0; all need the same source")


def is_of_the_network(error: Exception) -> bool:
    """Whether an exception is PyTorch's for a lost process."""
    found = re.search(r"\b(gloo|nccl|connection (closed|reset|refused)|socket)\b", str(error), re.IGNORECASE)
    return is_launched() and (isinstance(error, distributed.DistError) or found is not None)
