"""One step of training, and one look at how it goes: what any loop that trains drives.

First all learns together (`Joint`), then the encoder holds still and predictors and heads learn what it gives
(`Settling`). Knows a lesson, a network and its optimiser; knows no clock and no end. What a step draws depends on the
seed and the step's number alone."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from world_model.jepa.collapse import collapsed
from world_model.jepa.crew import ALONE, Crew, share_of
from world_model.jepa.lesson import Lesson
from world_model.jepa.lived import beliefs_of
from world_model.jepa.loss import Batch, Losses, losses
from world_model.jepa.network import Imagined, Network
from world_model.jepa.sigreg import directions

# B = batch, T = steps ahead, W = K + T rows, D = columns seen, N = rows, Z = latent

WARM_UP: Final = 0.05
"""Share of a stage in which the learning rate rises; it then falls as a cosine to nothing."""

WATCHED: Final = 512
"""Held-out observations that the watch over collapse looks at, at least, where there are as many."""

LARGEST_GRADIENT: Final = 10.0
"""Norm at which a step's gradient is cut."""


class Joint:
    """Encoder, predictors and heads learn together."""

    def __init__(self, lesson: Lesson, network: Network, *, device: str = "cpu", crew: Crew = ALONE) -> None:
        """Raises ShapeError where the workers of a crew cannot share a batch evenly."""
        self.lesson = lesson
        self.network = network.to(device)
        self.device = device
        self._crew = crew
        self._share = share_of(lesson.config.batch, crew)
        self._wrapped = crew.wrapped(self.network)
        self.learner = Learner(list(network.parameters()), lesson, crew)

    def step(self, number: int, *, done: float) -> Losses:
        """One step of the optimiser, `done` of the way through the stage, in [0, 1). The weights stay as they are when
        the loss or its gradient is not finite, which the answer then shows."""
        config = self.lesson.config
        batch = _to(self.device, self.lesson.batch(number, self._share))
        with _half(self.device):
            imagined = _whole(self._wrapped(batch.seen_BWD, batch.done_BWA, batch.present_BW))
        target_BTD = self.network.encoder.normal(batch.seen_BWD[:, config.history - 1 :])
        drawn_ZM = directions(config.latent, config.slices, seed=self.lesson.seed, step=number).to(self.device)
        return self.learner.learn(losses(imagined, batch, target_BTD, drawn_ZM, config, crew=self._crew), done)


class Settling:
    """The encoder and what remembers are frozen, so each row's belief is computed once; the rest goes on learning."""

    def __init__(self, lesson: Lesson, network: Network, *, device: str = "cpu", crew: Crew = ALONE) -> None:
        """As `Joint`."""
        self.lesson = lesson
        self.network = network.to(device)
        self.device = device
        self._crew = crew
        self._share = share_of(lesson.config.batch, crew)
        self.belief_NZ = beliefs_of(network, lesson.learnt, device=device)
        learning = Imagination(network)
        self._wrapped = crew.wrapped(learning)
        self.learner = Learner(list(learning.parameters()), lesson, crew)

    def step(self, number: int, *, done: float) -> Losses:
        """As `Joint.step`."""
        first = self.lesson.config.history - 1
        rows_BW, _ = self.lesson.rows(number, self._share)
        batch = _to(self.device, self.lesson.batch(number, self._share))
        belief_BTZ = self.belief_NZ[torch.from_numpy(rows_BW[:, first:]).to(self.device)]
        with _half(self.device):
            imagined = _whole(self._wrapped(belief_BTZ, batch.done_BWA[:, first:]))
        target_BTD = self.network.encoder.normal(batch.seen_BWD[:, first:])
        return self.learner.learn(losses(imagined, batch, target_BTD, None, self.lesson.config, crew=self._crew), done)


class Imagination(nn.Module):
    """The parts of a network that go on learning when beliefs hold still, and what they make of beliefs."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.learning = nn.ModuleList(
            [network.predictor, network.readout, *([network.goal] if network.goal is not None else [])]
        )
        self._imagine = network.imagine

    def forward(self, belief_BTZ: Tensor, done_BTA: Tensor) -> Imagined:
        return self._imagine(belief_BTZ, done_BTA)


class Learner:
    """An optimiser over some weights, with the pace of a stage."""

    def __init__(self, weights: list[torch.nn.Parameter], lesson: Lesson, crew: Crew = ALONE) -> None:
        self.weights = weights
        self.rate = lesson.config.learning_rate
        self.optimiser = torch.optim.AdamW(weights, lr=self.rate, weight_decay=lesson.config.weight_decay, fused=True)
        self._crew = crew

    def learn(self, found: Losses, done: float) -> Losses:
        """Answers with the losses of the whole batch."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * pace(done)
        self.optimiser.zero_grad(set_to_none=True)
        found.total.backward()  # type: ignore[no-untyped-call]  # torch declares none
        found = Losses(*self._crew.mean(torch.stack([part.detach() for part in found])).unbind())
        norm = torch.nn.utils.clip_grad_norm_(self.weights, LARGEST_GRADIENT)
        if not torch.isfinite(norm):
            return found._replace(total=norm)
        self.optimiser.step()
        return found


@torch.no_grad()
def look(lesson: Lesson, network: Network, *, device: str = "cpu") -> tuple[float, str | None]:
    """The share of what changes in held-out observations that the open-loop prediction misses when it is read out, and
    why the latents count as collapsed, if they do."""
    first = lesson.config.history - 1
    batch = _to(device, lesson.held_out_batch())
    imagined: Imagined = network(batch.seen_BWD, batch.done_BWA, batch.present_BW)
    seen_BTD = network.encoder.normal(batch.seen_BWD[:, first:])
    there_BT = batch.present_BW[:, first + 1 :]
    missed = (imagined.read_ahead_BTD - seen_BTD[:, 1:])[there_BT].square().sum()
    changed = (seen_BTD[:, 1:] - seen_BTD[:, :1])[there_BT].square().sum()
    some = slice(None, None, max(1, len(seen_BTD) // WATCHED))
    reason = collapsed(imagined.belief_BTZ[some, 0].cpu().numpy(), seen_BTD[some, 0].cpu().numpy())
    return float(missed / changed), reason


def pace(done: float) -> float:
    """The learning rate's share, in (0, 1], `done` of the way."""
    if done < WARM_UP:
        return (done + 0.001) / (WARM_UP + 0.001)
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


def _half(device: str) -> torch.autocast:
    """What is imagined on a GPU is computed in bfloat16; weights, losses and statistics stay float32."""
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda")


def _whole(imagined: Imagined) -> Imagined:
    return Imagined(*(values.float() for values in imagined))


def _to(device: str, batch: Batch) -> Batch:
    return Batch(*(values.to(device) for values in batch))
