"""SIGReg: how far a cloud of latents is from an isotropic Gaussian, seen along random directions.

Balestriero & LeCun, *LeJEPA* (arXiv:2511.08544), Algorithm 1; applied at each time step across the batch as in
LeWorldModel (arXiv:2603.19312), for the steps of one sequence are not independent draws. Knows arrays; knows no
model. Every statistic it sums over the batch passes through `Reduce`, where several workers average theirs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

# T = time steps, B = batch, Z = width of a latent, M = directions, Q = quadrature points

Reduce = Callable[[Tensor], Tensor]
"""Sum over the workers of a training; the identity where there is one."""


def alone(values: Tensor) -> Tensor:
    return values


def directions(width: int, count: int, *, seed: int, step: int) -> Tensor:
    """`count` directions drawn uniformly from the unit sphere, shape (Z, M). The same for equal arguments, so that
    workers agree without asking each other."""
    draws = np.random.default_rng((seed, step, 0x51C)).standard_normal((width, count))
    return torch.from_numpy((draws / np.linalg.norm(draws, axis=0)).astype(np.float32))


def sigreg(
    latents_TBZ: Tensor,
    present_TB: Tensor,
    directions_ZM: Tensor,
    *,
    points: int,
    reach: float,
    reduce: Reduce = alone,
) -> Tensor:
    """Mean over steps and directions of the Epps–Pulley statistic N ∫ |φ̂(t) − e^{−t²/2}|² e^{−t²/2} dt, a scalar ≥ 0.

    φ̂ is the empirical characteristic function of the N present latents of a step along a direction (Epps & Pulley,
    *A test for normality based on the empirical characteristic function*, Biometrika 70(3), 1983). The integral is the
    trapezoid rule with `points` points over [−`reach`, `reach`]; the integrand is even, so half of them are computed.
    """
    nodes_Q, weights_Q = _quadrature(points, reach, like=latents_TBZ)
    along_TBM = latents_TBZ @ directions_ZM
    weight_TB = present_TB.to(latents_TBZ.dtype)
    count_T = reduce(weight_TB.sum(dim=1))
    angles_TBMQ = along_TBM.unsqueeze(-1) * nodes_Q
    weight_T1B = weight_TB.unsqueeze(1)
    shape = (len(latents_TBZ), *angles_TBMQ.shape[2:])
    waves = (angles_TBMQ.cos(), angles_TBMQ.sin())
    sums = torch.stack([(weight_T1B @ wave_TBMQ.flatten(2)).view(shape) for wave_TBMQ in waves])
    real_TMQ, imaginary_TMQ = reduce(sums).unbind()
    share_T11 = 1 / count_T.clamp(min=1).view(-1, 1, 1)
    normal_Q = torch.exp(-0.5 * nodes_Q.square())
    distance_TMQ = (real_TMQ * share_T11 - normal_Q).square() + (imaginary_TMQ * share_T11).square()
    statistic_TM = distance_TMQ @ (weights_Q * normal_Q)
    return (statistic_TM.mean(dim=1) * count_T).mean()


def _quadrature(points: int, reach: float, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes t ≥ 0 and their weights, those of −t counted with them."""
    nodes = np.linspace(-reach, reach, points)
    weights = np.full(points, 2 * reach / (points - 1))
    weights[[0, -1]] /= 2
    half = math.ceil(points / 2)
    folded = weights[-half:].copy()
    folded[-(points // 2) :] *= 2
    return tuple(  # type: ignore[return-value]  # two of them
        torch.as_tensor(values, dtype=like.dtype, device=like.device) for values in (nodes[-half:], folded)
    )
