"""The workers of one training: what they add up, and what the first of them decides for all.

Knows torch's process group; knows no network and no loss. Invariant: all workers call the same methods in the same
order, and a step's batch, its loss and its gradient do not depend on how many they are, but for rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from world_model.errors import ShapeError


class Crew(Protocol):
    size: int
    rank: int

    def total(self, values: Tensor) -> Tensor:
        """The sum over the workers. Its gradient, averaged over them as DistributedDataParallel does, is the whole's.
        Neither dtype nor shape changes."""

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the workers, without a gradient."""

    def agreed(self, *values: float) -> tuple[float, ...]:
        """The first worker's values."""

    def wrapped(self, module: nn.Module) -> Callable[..., Any]:
        """The module as steps call it: its weights are the first worker's, its gradients averaged over all."""


class Alone:
    size = 1
    rank = 0

    def total(self, values: Tensor) -> Tensor:
        return values

    def mean(self, values: Tensor) -> Tensor:
        return values

    def agreed(self, *values: float) -> tuple[float, ...]:
        return values

    def wrapped(self, module: nn.Module) -> Callable[..., Any]:
        return module


ALONE: Final = Alone()


class Together:
    """The processes of torch's default group, which stands already. `device` is where values are exchanged."""

    def __init__(self, *, device: str = "cpu") -> None:
        self.size = torch.distributed.get_world_size()
        self.rank = torch.distributed.get_rank()
        self._device = device

    def total(self, values: Tensor) -> Tensor:
        summed: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]  # torch declares none
        return summed

    @torch.no_grad()
    def mean(self, values: Tensor) -> Tensor:
        return self.total(values) / self.size

    def agreed(self, *values: float) -> tuple[float, ...]:
        said = torch.tensor(values, dtype=torch.float64, device=self._device)
        torch.distributed.broadcast(said, src=0)
        return tuple(said.tolist())

    def wrapped(self, module: nn.Module) -> Callable[..., Any]:
        # Buffers are statistics that no step changes; sending them with every step would double the messages.
        return DistributedDataParallel(module, broadcast_buffers=False)


class _Total(torch.autograd.Function):
    """Every worker computes the same from the sum, so each knows the whole gradient by it without asking the others;
    times their number, for the average that follows."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: ANN401  torch's own context object
        summed = values.detach().clone()
        torch.distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401
        return gradient * torch.distributed.get_world_size()


def meet(workers: int, *, threads: int, device: str) -> Crew:
    """The crew of this process, which computes with `threads` threads from now on. With several workers torch's default
    group stands already."""
    torch.set_num_threads(threads)
    return Together(device=device) if workers > 1 else ALONE


def share_of(batch: int, crew: Crew) -> slice:
    """Which sequences of a batch are this worker's. Raises ShapeError as `check_shares`."""
    check_shares(batch, crew.size)
    each = batch // crew.size
    return slice(crew.rank * each, (crew.rank + 1) * each)


def check_shares(batch: int, workers: int) -> None:
    """Raises ShapeError where the sequences of a batch cannot be shared evenly."""
    if batch % workers:
        divisors = [str(n) for n in range(1, batch + 1) if batch % n == 0]
        raise ShapeError(
            f"the {batch} sequences of a batch cannot be shared evenly by {workers} workers, and each step is of one "
            f"whole batch. Nothing was trained. Take {', '.join(divisors)} workers, or another batch"
        )
