"""One step of training, and one look at how it goes: what any loop that trains drives.

Knows a lesson, a network and its optimiser; knows no clock and no end. What a step draws depends on the seed and the
step's number alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from world_model.jepa.collapse import collapsed
from world_model.jepa.lesson import Lesson
from world_model.jepa.loss import Batch, Losses, losses
from world_model.jepa.network import Imagined, Network
from world_model.jepa.sigreg import Reduce, alone, directions

# B = batch, T = steps ahead, D = columns seen

WARM_UP: Final = 0.05
"""Share of a training in which the learning rate rises; it then falls as a cosine to nothing."""

WATCHED: Final = 512
"""Held-out observations that the watch over collapse looks at, at least, where there are as many."""

LARGEST_GRADIENT: Final = 10.0
"""Norm at which a step's gradient is cut."""


class Course:
    """A network, its optimiser, and what they learn from. `wrapped`: the network as steps call it, such as a
    DistributedDataParallel around it."""

    def __init__(self, lesson: Lesson, network: Network, *, device: str = "cpu") -> None:
        self.lesson = lesson
        self.config = lesson.config
        self.network = network.to(device)
        self.wrapped: Callable[[Tensor, Tensor, Tensor], Imagined] = self.network
        self.device = device
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay, fused=True
        )

    def step(self, number: int, *, done: float, reduce: Reduce = alone) -> Losses:
        """One step of the optimiser, `done` of the way through the training, in [0, 1). The weights stay as they are
        when the loss or its gradient is not finite, which the answer then shows."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * pace(done)
        found = self._losses(number, reduce)
        self.optimiser.zero_grad(set_to_none=True)
        found.total.backward()  # type: ignore[no-untyped-call]  # torch declares none
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        if not torch.isfinite(norm):
            return found._replace(total=norm)
        self.optimiser.step()
        return found

    def _losses(self, number: int, reduce: Reduce) -> Losses:
        batch = self._here(self.lesson.batch(number))
        imagined = self.wrapped(batch.seen_BWD, batch.done_BWA, batch.present_BW)
        target_BTD = self.network.encoder.normal(batch.seen_BWD[:, self.config.history - 1 :])
        drawn = directions(self.config.latent, self.config.slices, seed=self.lesson.seed, step=number)
        return losses(imagined, batch, target_BTD, drawn.to(self.device), self.config, reduce=reduce)

    @torch.no_grad()
    def look(self) -> tuple[float, str | None]:
        """The share of what changes in held-out observations that the open-loop prediction misses when it is read out,
        and why the latents count as collapsed, if they do."""
        batch = self._here(self.lesson.held_out_batch())
        imagined: Imagined = self.network(batch.seen_BWD, batch.done_BWA, batch.present_BW)
        seen_BTD = self.network.encoder.normal(batch.seen_BWD[:, self.config.history - 1 :])
        there_BT = batch.present_BW[:, self.config.history :]
        missed = (imagined.read_ahead_BTD - seen_BTD[:, 1:])[there_BT].square().sum()
        changed = (seen_BTD[:, 1:] - seen_BTD[:, :1])[there_BT].square().sum()
        some = slice(None, None, max(1, len(seen_BTD) // WATCHED))
        reason = collapsed(imagined.belief_BTZ[some, 0].cpu().numpy(), seen_BTD[some, 0].cpu().numpy())
        return float(missed / changed), reason

    def _here(self, batch: Batch) -> Batch:
        return Batch(*(values.to(self.device) for values in batch))


def pace(done: float) -> float:
    """The learning rate's share, in [0, 1], `done` of the way."""
    if done < WARM_UP:
        return (done + 0.001) / (WARM_UP + 0.001)
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))
