"""What training minimises: a pure function of what a network imagines and of the batch it imagined it from.

Knows tensors; knows no optimiser and no loop. Sums over the batch pass through the crew, whose workers add theirs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from world_model.jepa.config import JepaConfig
from world_model.jepa.crew import ALONE, Crew
from world_model.jepa.network import Imagined
from world_model.jepa.sigreg import sigreg

# B = batch, T = steps ahead, W = K + T rows, D = columns seen, A = controls, E = heads, Z = latent, M = directions


class Batch(NamedTuple):
    """Sequences drawn from what was lived. Rows beyond an episode's ends are not present and hold others' values."""

    seen_BWD: Tensor
    done_BWA: Tensor
    present_BW: Tensor
    weight_BE: Tensor
    """How often each head's bootstrap drew the sequence's session."""


class Losses(NamedTuple):
    total: Tensor
    prediction: Tensor
    """Mean squared latent error over heads, steps and columns, weighed by the bootstrap."""
    sigreg: Tensor
    readout: Tensor
    """Mean squared error of the detached heads on the encoder's scale, of beliefs and of what is foreseen."""


def losses(
    imagined: Imagined,
    batch: Batch,
    target_BTD: Tensor,
    directions_ZM: Tensor | None,
    config: JepaConfig,
    *,
    crew: Crew = ALONE,
) -> Losses:
    """`target_BTD` is what was seen at each of the T + 1 steps, on the encoder's scale. Without directions
    nothing is asked of the beliefs, which then do not change.

    `batch` is this worker's share of a step's batch. Means are over the whole: the average of the workers' losses is
    the loss of the whole batch, and so are their gradients'.

    The target of a prediction is the belief that what came next gives; it learns too, and SIGReg keeps it from
    shrinking (LeJEPA: no stop-gradient and no teacher)."""
    present_BT = batch.present_BW[:, config.history - 1 :]
    error_TEB = (imagined.foreseen_TEBZ - imagined.belief_BTZ[:, 1:].transpose(0, 1).unsqueeze(1)).square().mean(-1)
    weight_TEB = present_BT[:, 1:].T.unsqueeze(1) * batch.weight_BE.T
    prediction = _mean(error_TEB, weight_TEB, crew)
    gaussian = torch.zeros_like(prediction)
    if directions_ZM is not None:
        belief_TBZ = imagined.belief_BTZ.transpose(0, 1)
        gaussian = sigreg(
            belief_TBZ, present_BT.T, directions_ZM, points=config.points, reach=config.reach, reduce=crew.total
        )
    now_B = (imagined.read_BD - target_BTD[:, 0]).square().mean(-1)
    ahead_BT = (imagined.read_ahead_BTD - target_BTD[:, 1:]).square().mean(-1)
    readout = now_B.mean() + _mean(ahead_BT, present_BT[:, 1:], crew)
    return Losses(prediction + config.sigreg_weight * gaussian + readout, prediction, gaussian, readout)


def _mean(values: Tensor, weights: Tensor, crew: Crew) -> Tensor:
    """What is not present may hold anything, so it is left out, not multiplied by zero."""
    weights = weights.to(values.dtype)
    share = torch.where(weights > 0, values * weights, 0).sum() * crew.size
    return share / crew.total(weights.sum()).clamp(min=1)
